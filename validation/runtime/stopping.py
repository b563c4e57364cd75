"""A polite end: SIGTERM and SIGINT are noted, and the loop saves before it obeys."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stop", "stop_requested"]


class Stop:
    """Whether a signal has come, and which."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status that shells give a process that a signal ended: 143 for SIGTERM."""
        return 128 + (self.signal or 0)


@contextmanager
def stop_requested() -> Iterator[Stop]:
    """Note SIGTERM and SIGINT inside, and give the handlers of before back; a second one ends the process at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread set handlers
        yield stop
        return
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        stop.signal = int(number)
        signal.signal(number, before[number])

    for caught in (signal.SIGTERM, signal.SIGINT):
        before[caught] = signal.signal(caught, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

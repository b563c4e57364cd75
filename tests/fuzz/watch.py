"""What an entry may not do: run code, start processes, write elsewhere, hang, or eat memory."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Misdeed", "watched"]

MOST_SECONDS, MOST_BYTES = 2.0, 500 * 2**20
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Misdeed(Exception):  # noqa: N818
    """An entry did what no input may make it do."""


class _Watch:
    """The one audit hook (hooks cannot be removed): silent unless it is `on`."""

    def __init__(self) -> None:
        self.on, self.folder, self.unpickles, self.seen = False, "", False, []

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event in FORBIDDEN or (event == "pickle.find_class" and not self.unpickles):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "exec" and getattr(arguments[0], "co_filename", "") == "<string>" and not _is_a_definition():
            self.seen.append("evaluated text as Python code")
        elif event == "open" and isinstance(arguments[0], str | bytes) and _writes(arguments):
            place = os.path.abspath(os.fsdecode(arguments[0]))
            if not place.startswith(self.folder) and place != os.devnull and "__pycache__" not in place:
                self.seen.append(f"wrote to {place}")


def _writes(arguments: tuple) -> bool:
    """The arguments of an `open` event: path, mode, flags."""
    mode = arguments[1] if isinstance(arguments[1], str) else ""
    return bool(set(mode) & set("wax+")) or bool(int(arguments[2] or 0) & WRITES)


def _is_a_definition() -> bool:
    """The standard library makes dataclasses and namedtuples, and reads annotations, by evaluating text of the program."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith(("dataclasses.py", "typing.py", os.path.join("collections", "__init__.py"))):
            return True
        frame = frame.f_back
    return False


_WATCH = _Watch()
sys.addaudithook(_WATCH)


def _peak(reset: bool = False) -> int:
    """The most memory that was held at once, in bytes, since it was `reset`, where the system can (Linux)."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def watched(folder: Path, *, unpickles: bool = False, seconds: float = MOST_SECONDS) -> Iterator[None]:
    """`Misdeed` where something forbidden happens inside; files may be written below `folder`."""
    _WATCH.folder, _WATCH.unpickles, _WATCH.seen = str(folder), unpickles, []
    began, memory = time.process_time(), _peak(reset=True)
    _WATCH.on = True
    try:
        yield
    finally:
        _WATCH.on = False
        taken = time.process_time() - began
        grown = _peak() - memory
    if _WATCH.seen or taken > seconds or grown > MOST_BYTES:
        raise Misdeed(f"{_WATCH.seen}; {taken:.1f} s, {grown / 2**20:.0f} MB")

"""Progress bars for what takes long: shown when asked for, closed on every way out, silent where tqdm is not installed.

In a terminal and in a notebook a bar moves; in a log, where nothing can be overwritten, a plain line is written twice a minute.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TextIO

__all__ = ["LogLines", "Silent", "progress_bar"]

LOG_SECONDS = 30.0  # between two lines in a log
LOG_FORMAT = "{desc}{n_fmt}/{total_fmt} {unit}, {elapsed} elapsed, {remaining} left{postfix}"
LOG_FORMAT_OPEN = "{desc}{n_fmt} {unit}, {elapsed} elapsed{postfix}"  # where the total is not known


class Silent:
    """What stands in for a bar that is not shown."""

    disable = True
    n = 0

    def update(self, n: float = 1) -> None:
        """Nothing moves."""

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Nothing is written."""


class LogLines:
    """A stream for tqdm that is no terminal: what would overwrite a bar becomes a line, at most one every `LOG_SECONDS`.

    The last line of a bar, which tqdm ends with a line feed, is always written.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.written, self.waiting = stream, monotonic(), ""

    def write(self, text: str) -> None:
        """Take what tqdm draws; write it if it is time, or the end."""
        ends, line = text == "\n", text.strip("\r\n ")
        self.waiting = line or self.waiting
        if self.waiting and (ends or monotonic() - self.written >= LOG_SECONDS):
            self.stream.write(f"{self.waiting}\n")
            self.stream.flush()
            self.written, self.waiting = monotonic(), ""

    def flush(self) -> None:
        """Lines are flushed as they are written."""


def _in_log() -> bool:
    """Is standard error neither a terminal nor the output of a notebook's cell?"""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return not sys.stderr.isatty() and (shell is None or "IPKernelApp" not in shell.config)


@contextmanager
def progress_bar(shown: bool, total: int | None = None, **options: Any) -> Iterator[Any]:
    """tqdm's bar (a widget in a notebook, lines in a log) with these options, or a `Silent` one; an interrupt closes it too.

    >>> with progress_bar(False, 3) as bar:
    ...     bar.update()
    """
    tqdm: Any = None
    if shown:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = None
    if tqdm is None:
        yield Silent()
        return
    if _in_log():
        log = {"file": LogLines(sys.stderr), "bar_format": LOG_FORMAT_OPEN if total is None else LOG_FORMAT}
        options = {"mininterval": LOG_SECONDS, **log, **options}
        options["desc"] = f"{options['desc']}: " if options.get("desc") else None
    with tqdm(total=total, dynamic_ncols=True, **options) as bar:
        yield bar

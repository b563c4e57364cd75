"""Progress bars for what takes long: shown when asked for, closed on every way out, silent where tqdm is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Silent", "progress_bar"]


class Silent:
    """What stands in for a bar that is not shown."""

    disable = True
    n = 0

    def update(self, n: float = 1) -> None:
        """Nothing moves."""

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Nothing is written."""


@contextmanager
def progress_bar(shown: bool, total: int | None = None, **options: Any) -> Iterator[Any]:
    """tqdm's bar (a widget in a notebook) with these options, or a `Silent` one; an interrupt closes it as an end does.

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
    with tqdm(total=total, dynamic_ncols=True, **options) as bar:
        yield bar

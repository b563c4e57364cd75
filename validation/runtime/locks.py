"""A folder belongs to one process at a time."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lattice import SpecificationError

__all__ = ["locked"]


HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # what a lock that another holds is called


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock falls with the process, however it ends. Refused while another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in HELD:  # a file system without locks, say
                raise
            raise SpecificationError(
                f"another process is measuring into {folder}; wait for it, stop it, or take another folder"
            ) from None
        yield


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

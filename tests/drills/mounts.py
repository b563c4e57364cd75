"""The kernel's own refusals: a full disk and a read-only one, mounted where only this process sees them."""

import ctypes
import os
import shutil
import sys

__all__ = ["can_mount", "copy_out", "mount"]

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000
READ_ONLY, REMOUNT, PRIVATE, RECURSIVE = 1, 32, 1 << 18, 16384


def _call(function, *arguments):
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def mount(folder, size, read_only=False):
    """Lay a disk of `size` bytes over a folder, with a copy of what the folder holds, in a name space of this process's own."""
    _call("unshare", NEW_MOUNTS if os.geteuid() == 0 else NEW_MOUNTS | NEW_USER)
    _call("mount", b"none", b"/", None, PRIVATE | RECURSIVE, None)
    kept = folder.with_name(f"{folder.name}-kept")
    shutil.copytree(folder, kept)
    _call("mount", b"none", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode())
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    shutil.rmtree(kept)
    if read_only:
        _call("mount", b"none", os.fsencode(folder), b"tmpfs", REMOUNT | READ_ONLY, f"size={size}".encode())


def copy_out(folder):
    """What the mounted folder holds, beside it, where others can see it."""
    shutil.copytree(folder, folder.with_name(f"{folder.name}-out"))


def can_mount(folder):
    """Whether this machine lets a process mount."""
    if not sys.platform.startswith("linux"):
        return False
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            folder.mkdir()
            mount(folder, 1 << 20)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0

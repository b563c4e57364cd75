"""Every call that reaches the disk, counted, so that each one in turn can be the last or can fail.

A save is: create a temporary file, write, flush, fsync, close, rename, fsync the folder, remove what is old. Killing a
process at call 1, 2, 3, ... visits all moments between two of these; random times are only a sample of them. What a killed
process handed to the kernel is there; fsync is for a loss of power, so it is counted and left out: it costs most of the time.
"""

import errno
import io
import os
import signal
from pathlib import Path

__all__ = ["ACTIONS", "watch"]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Disk:
    """Counts the calls; at number `at` something happens (`do`), see ACTIONS."""

    def __init__(self, at, do):
        self.at, self.do, self.names = at, ACTIONS[do], []

    def call(self, name, content=None, file=None):
        self.names.append(name)
        self.do(self, len(self.names), name, content, file)


def kill(disk, number, name, content, file):
    """The process ends before the call."""
    if number == disk.at:
        die()


def tear(disk, number, name, content, file):
    """The process ends when half of the content is on the disk; elsewhere as `kill`."""
    if number == disk.at:
        if name == "write":
            file.write(content[: len(content) // 2])
            file.flush()
        die()


def full(disk, number, name, content, file):
    """The disk is full from then on: nothing is written any more, files can still be removed."""
    if number >= disk.at and name not in ("unlink", "close"):
        if name == "write":
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(disk, number, name, content, file):
    """One call fails, and the next ones do not."""
    if number == disk.at:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def read_only(disk, number, name, content, file):
    """Whatever would change the disk is refused from then on."""
    if number >= disk.at and name != "close":
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def stop(disk, number, name, content, file):
    """The process stands still, with all that it holds."""
    if number == disk.at:
        os.kill(os.getpid(), signal.SIGSTOP)


def look(disk, number, name, content, file):
    """Nothing happens."""


ACTIONS = {f.__name__: f for f in (kill, tear, full, fail, read_only, stop, look)}


class File:
    """A file whose calls are counted."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def write(self, content):
        self.disk.call("write", content, self.file)
        return self.file.write(content)

    def flush(self):
        self.disk.call("flush")
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.disk.call("close")
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def watch(folder, at=0, do="look"):
    """From now on this process counts its calls on files under `folder`; returns the `Disk`."""
    disk, folder = Disk(at, do), str(Path(folder).absolute())

    def inside(path):
        return not isinstance(path, int) and str(Path(path).absolute()).startswith(folder)

    def counted(name, function):
        def call(path, *arguments, **options):
            if name == "fsync" or inside(path):
                disk.call(name)
            return function(path, *arguments, **options)

        return call

    os.fsync = lambda file: None
    for name in ("replace", "rename", "unlink", "mkdir", "fsync"):
        setattr(os, name, counted(name, getattr(os, name)))
    os.open = counted("open folder", os.open)
    os.remove = os.unlink
    plain = io.open

    def open_(path, mode="r", *arguments, **options):
        if "r" in mode or not inside(path):
            return plain(path, mode, *arguments, **options)
        disk.call("create")
        file = plain(path, mode, *arguments, **options)
        return File(file, disk) if "w" in mode else file  # nothing is ever written to a lock

    io.open = open_
    return disk

"""Arrays and a header in one file: written whole or not at all, checked by a hash when read, and nothing is unpickled."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lattice.errors import PilcroError, SpecificationError

__all__ = ["StorageError", "digest", "read_arrays", "write_arrays", "write_bytes"]

Array = np.ndarray[Any, Any]
HEADER = "header"


class StorageError(PilcroError, OSError):
    """The disk refuses: it is full, read-only, or fails. What was written before is whole."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is either there as a whole or not at all, whenever the power goes.

    The content goes to a temporary name beside it and to the disk, then takes the name, then the folder goes to the disk.
    Raises `StorageError` where the disk refuses.
    """
    try:
        _write(path, content)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error}; what was written before is whole. Make room, or name a place that can be "
            "written to, and do the same again"
        ) from error


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def digest(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """SHA-256 over the header and every array's name, type, shape and content.

    >>> digest({}, {"a": np.zeros(2)}) == digest({}, {"a": np.zeros(3)})
    False
    """
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.data.cast("B") if array.size else b"")
    return total.hexdigest()


def write_arrays(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """One `.npz` file of the arrays, and of a JSON header that carries their hash."""
    marked = json.dumps({**header, "sha256": digest(header, arrays)})
    buffer = io.BytesIO()
    contents: dict[str, Any] = {HEADER: np.frombuffer(marked.encode(), dtype=np.uint8), **arrays}
    np.savez(buffer, **contents)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header and the arrays of a file; raises `SpecificationError` where it is damaged or of another kind."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header: dict[str, Any] = json.loads(arrays.pop(HEADER).tobytes())
        stated = header.pop("sha256")
    except FileNotFoundError:
        raise SpecificationError(f"there is no file {path}") from None
    except OSError as error:
        raise SpecificationError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # a damaged archive raises whatever its damage looks like
        raise SpecificationError(f"{path} is damaged or was not written by this project: {error}") from error
    if stated != digest(header, arrays):
        raise SpecificationError(f"{path} is damaged: its content does not have the hash that it was written with")
    return header, arrays

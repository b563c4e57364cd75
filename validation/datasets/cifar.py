"""CIFAR-10 and CIFAR-100 from the archives that torchvision downloads; an archive is hashed before anything is parsed.

The archive holds pickles. After its SHA-256 is found right they go through a reader that can make byte strings, numbers,
lists, dictionaries and numpy arrays, and nothing else.
"""

import hashlib
import io
import pickle  # only behind the hash, and restricted: see _Reader
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lattice import SpecificationError
from validation.datasets.embedded import Split

__all__ = ["CIFAR10", "CIFAR100", "Archive", "read"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Archive:
    """File name, SHA-256, where it comes from, its training and test files, and the key of its labels."""

    name: str
    sha256: str
    train: tuple[str, ...]
    test: str
    key: bytes

    @property
    def url(self) -> str:
        """Where the archive is published."""
        return f"https://www.cs.toronto.edu/~kriz/{self.name}"


CIFAR10 = Archive(
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
    "cifar-10-batches-py/test_batch",
    b"labels",
)
CIFAR100 = Archive(
    "cifar-100-python.tar.gz",
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ("cifar-100-python/train",),
    "cifar-100-python/test",
    b"fine_labels",
)


class _Reader(pickle.Unpickler):
    """numpy arrays of numbers, and Python's own containers."""

    def find_class(self, module: str, name: str) -> Any:
        # what remakes an array is said by an array: numpy 2 moved it
        array_parts = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module.split(".")[0] == "numpy" and name in array_parts:
            return array_parts[name]
        if (module, name) == ("_codecs", "encode"):  # how Python 2's byte strings arrive
            return lambda text, encoding: text.encode(encoding)
        raise SpecificationError(f"the archive asks for {module}.{name}, which no CIFAR archive holds")


def read(archive: Archive, root: Path | None, size: int = 32) -> Split:
    """(N, 3, 32, 32) uint8 pixels and labels, to train and to test, from `root`/<archive name>.

    Parameters
    ----------
    archive : Archive
        Which of the two archives.
    root : Path, optional
        Where CIFAR's archives or the image folders lie.
    size : int
        32: other sizes are refused.

    Returns
    -------
    Split
        ((pixels, labels), (pixels, labels)), uint8 and int64.

    Raises
    ------
    SpecificationError
        For an absent archive (with the path where it is expected) and for one whose hash differs.
    """
    if size != 32:
        raise SpecificationError(f"CIFAR images have 32 pixels; size is {size}")
    path = (root or Path("data")) / archive.name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SpecificationError(
            f"there is no {path.absolute()}; download it from {archive.url}, or give the folder that holds it with --root"
        ) from None
    except OSError as error:
        raise SpecificationError(f"{path} cannot be read: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != archive.sha256:
        raise SpecificationError(
            f"{path} has the SHA-256 {found}, not {archive.sha256}: it is damaged or another file, and was not opened; "
            f"download it again from {archive.url}"
        )
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            parts = [_part(tar, name, archive.key) for name in (*archive.train, archive.test)]
    except SpecificationError:
        raise
    except Exception as error:  # tarfile and pickle raise whatever damage looks like
        raise SpecificationError(f"{path} does not hold the batches of {archive.name}: {error}") from error
    train = tuple(np.concatenate([part[i] for part in parts[:-1]]) for i in (0, 1))
    return (train[0], train[1]), parts[-1]


def _part(tar: tarfile.TarFile, name: str, key: bytes) -> tuple[Array, Array]:
    member = tar.extractfile(name)
    assert member is not None
    held = _Reader(member, encoding="bytes").load()
    return np.asarray(held[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32), np.asarray(held[key], dtype=np.int64)

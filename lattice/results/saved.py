"""Values that are kept in files that hold no code: `save`, and `load` of the same type, made of a closed list of types."""

from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Self

from lattice.errors import SpecificationError
from lattice.results.files import read_arrays, write_arrays
from lattice.results.records import WRONG, decode, encode

__all__ = ["Saved", "checked_place"]


def checked_place(path: str | Path) -> Path:
    """FILE.npz in a folder that there is; `SpecificationError` for any other name."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise SpecificationError(f"cannot save to {path}: it ends in {path.suffix or 'nothing'}; the name ends in .npz")
    if not path.absolute().parent.is_dir():
        raise SpecificationError(f"cannot save to {path}: the folder {path.absolute().parent} does not exist")
    return path


class Saved:
    """A dataclass of numbers, texts, arrays, sequences and mappings, and of the types that `_made_of` lists."""

    _made_of: tuple[type, ...] = ()  # assigned without annotation in a dataclass, where it is no field

    @classmethod
    def _parts(cls) -> Iterable[type]:
        """The types beside this one that its fields are made of; theirs are found by asking them."""
        return cls._made_of

    def save(self, path: str | Path) -> Path:
        """Write all of it to one file that holds no code: arrays, and JSON with their hash.

        Parameters
        ----------
        path : str or Path
            FILE.npz; it is there as a whole or not at all.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        SpecificationError
            If the name ends otherwise, the folder does not exist, or something in it is of the user's own type.
        """
        place, arrays = checked_place(path), dict[str, Any]()
        try:
            coded = encode(self, _types(type(self)), arrays, "own")
        except SpecificationError as error:
            raise SpecificationError(f"this {type(self).__name__} cannot be saved: {error}") from error
        write_arrays(place, {"format": _format(type(self)), "value": coded}, arrays)
        return place

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` of this type wrote.

        Parameters
        ----------
        path : str or Path
            FILE.npz.

        Returns
        -------
        object
            Equal to the one that was saved.

        Raises
        ------
        SpecificationError
            If the file is damaged, or one of another kind.
        """
        header, arrays = read_arrays(Path(path))
        if header.get("format") != _format(cls):
            found = str(header.get("format", "something else"))
            raise SpecificationError(f"{path} is no {cls.__name__}: it holds {found!r:.60}")
        try:
            value = decode(header["value"], _types(cls), arrays)
        except WRONG as error:  # a request that nothing meets is a ValueError too
            raise SpecificationError(f"{path} is no {cls.__name__} of this version: {error}") from error
        if type(value) is not cls:
            raise SpecificationError(f"{path} is no {cls.__name__} of this version: it holds a {type(value).__name__}")
        return value


def _format(made: type) -> str:
    return f"pilcro {made.__module__}.{made.__qualname__} 1"


def _types(made: type) -> dict[str, type]:
    """By name, what a file of this type may be made of."""
    return {one.__name__: one for one in _below(made, set())}


def _below(made: type, seen: set[type]) -> Iterator[type]:
    if made in seen:
        return
    seen.add(made)
    yield made
    parts: Iterable[type] = () if issubclass(made, Enum) or not hasattr(made, "_parts") else made._parts()
    for part in parts:
        yield from _below(part, seen)

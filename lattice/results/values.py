"""What every result can become: plain values for JSON, a table of pandas, for maps a data set of xarray and an array."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np

from lattice.errors import SpecificationError
from lattice.results.saved import Saved

__all__ = ["MapResult", "Result", "axis_names", "flat", "plain"]

Array = np.ndarray[Any, Any]
AXES = {1: ("position",), 2: ("row", "column"), 3: ("slice", "row", "column")}


def axis_names(ndim: int) -> tuple[str, ...]:
    """What the axes of a map over input positions are called in tables.

    >>> axis_names(2), axis_names(4)
    (('row', 'column'), ('axis_0', 'axis_1', 'axis_2', 'axis_3'))
    """
    return AXES.get(ndim, tuple(f"axis_{axis}" for axis in range(ndim)))


def plain(value: Any) -> Any:
    """The value in the types of JSON: keys are texts, sequences and arrays lists, and a float that is not finite is None.

    >>> plain({2: np.float64(0.5), "map": np.ones(2), "error": float("nan")})
    {'2': 0.5, 'map': [1.0, 1.0], 'error': None}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Fraction):
        return number if np.isfinite(number := float(value)) else None
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise SpecificationError(f"{value!r} has no form in JSON; numbers, texts, sequences, mappings and arrays have")


def flat(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested plain values as one row of a table, a column for each number: the way to it, joined with dots.

    >>> flat({"a": 1, "gridding": {"2": 0.1}, "flip": [0.0, 0.5], "errors": None})
    {'a': 1, 'gridding.2': 0.1, 'flip.0': 0.0, 'flip.1': 0.5, 'errors': None}
    """
    row: dict[str, Any] = {}
    for key, value in content.items():
        inside: Any = dict(enumerate(value)) if isinstance(value, list) else value
        row |= flat(inside, f"{before}{key}.") if isinstance(inside, Mapping) else {f"{before}{key}": value}
    return row


def _optional(module: str, method: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise SpecificationError(f"{method}() needs {module}: pip install {module}; or take .to_dict()") from error


class Result(Saved):
    """A result that is a row or several: `_facts` says what is in it, `_rows` what its table shows."""

    def _facts(self) -> dict[str, Any]:
        """What there is to say, without maps: of a dataclass, its fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def _rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of the table, nested or not."""
        return [self._facts()]

    def to_dict(self) -> dict[str, Any]:
        """Everything in it as plain values, which JSON can hold.

        Returns
        -------
        dict
            Numbers, texts, lists and dictionaries with texts as keys; None where a number is not finite.
        """
        content: dict[str, Any] = plain(self._facts())
        return content

    def to_dataframe(self) -> Any:
        """A table of the numbers, a column each; names of nested ones are joined with dots.

        Returns
        -------
        pandas.DataFrame
            The table.

        Raises
        ------
        SpecificationError
            If pandas is not installed.
        """
        return _optional("pandas", "to_dataframe").DataFrame([flat(plain(row)) for row in self._rows()])


class MapResult(Result):
    """A result that is maps over input positions, the most important one first, and facts about them."""

    _map_names: tuple[str, ...] = ()  # assigned without annotation in a dataclass, where it is no field

    def _maps(self) -> dict[str, Array]:
        """The maps by name, all of one shape."""
        return {name: getattr(self, name) for name in self._map_names}

    def _facts(self) -> dict[str, Any]:
        return {name: value for name, value in super()._facts().items() if name not in self._map_names}

    def to_dict(self, *, arrays: bool = True) -> dict[str, Any]:
        """Everything in it as plain values, which JSON can hold.

        Parameters
        ----------
        arrays : bool, default True
            Whether the maps are in it, as nested lists.

        Returns
        -------
        dict
            The facts, the shape of the maps, and the maps.
        """
        maps = self._maps()
        content: dict[str, Any] = plain({**self._facts(), "shape": next(iter(maps.values())).shape, **(maps if arrays else {})})
        return content

    def to_dataframe(self) -> Any:
        """A tidy table of the maps: a row per pixel, with its position and its value in each map.

        Returns
        -------
        pandas.DataFrame
            The table.

        Raises
        ------
        SpecificationError
            If pandas is not installed.
        """
        pandas, maps = _optional("pandas", "to_dataframe"), self._maps()
        shape = next(iter(maps.values())).shape
        columns = dict(zip(axis_names(len(shape)), (axis.ravel() for axis in np.indices(shape)), strict=True))
        return pandas.DataFrame(columns | {name: values.ravel() for name, values in maps.items()})

    def to_xarray(self) -> Any:
        """The maps as variables over named axes, with what else there is to say in `attrs`.

        Returns
        -------
        xarray.Dataset
            One variable per map, over (row, column) for images; nested facts in `attrs` have names joined with dots.

        Raises
        ------
        SpecificationError
            If xarray is not installed.
        """
        xarray, maps = _optional("xarray", "to_xarray"), self._maps()
        names = axis_names(next(iter(maps.values())).ndim)
        facts = {name: value for name, value in flat(self.to_dict(arrays=False)).items() if value is not None}
        return xarray.Dataset({name: (names, values) for name, values in maps.items()}, attrs=facts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The first map, for `numpy.asarray`."""
        values = next(iter(self._maps().values()))
        if copy is None:
            return np.asarray(values, dtype=dtype)
        return np.array(values, dtype=dtype, copy=copy)

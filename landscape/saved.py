"""Landscapes in files that hold no code: the maps as arrays, the network and its prior as data from known types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.gates.filters import Crossing
from landscape.gates.windows.pairs_of_winners import Winners
from landscape.prior import Gates, Pooled, Shift
from landscape.tracing.trace import Trace
from landscape.warrant.drawn_networks import DrawnNetworks
from landscape.warrant.guarantee import Guarantee
from lattice import Lattice, SpecificationError
from lattice.results.files import read_arrays, write_arrays
from lattice.results.records import WRONG, decode, encode
from lattice.results.saved import checked_place

if TYPE_CHECKING:
    from landscape.predict import Landscape

__all__ = ["parts", "read_landscape", "write_landscape"]

FORMAT = "pilcro landscape 1"
SHOWN = ("squared", "standard_error")  # for those who read the arrays alone; and the relative map, where there is one
FIELDS = {
    "guarantee": Guarantee,
    "reasons": tuple,
    "traced": Trace,
    "output": object,
    "pooled": bool,
    "batch": int | None,
    "drawn": DrawnNetworks | None,
}


def _types() -> dict[str, type]:
    """What a file may be made of, by name: a lattice, and what a trace holds beside."""
    return {one.__name__: one for one in parts()}


def parts() -> tuple[type, ...]:
    """The types that a landscape is made of."""
    return (Lattice, *Lattice._parts(), Trace, Gates, Pooled, Winners, Crossing, Shift, Guarantee, DrawnNetworks)


def write_landscape(land: Landscape, path: Path) -> Path:
    """Write a landscape to FILE.npz, as a whole or not at all."""
    path = checked_place(path)
    arrays: dict[str, Any] = {}
    try:
        coded = {name: encode(getattr(land, name), _types(), arrays, f"own.{name}") for name in FIELDS}
    except SpecificationError as error:
        raise SpecificationError(f"this landscape cannot be saved as a whole: {error}; .to_dict() has its maps") from error
    shown = (*SHOWN, "relative") if np.any(land.squared) else SHOWN
    write_arrays(path, {"format": FORMAT, **coded}, arrays | {name: np.asarray(getattr(land, name)) for name in shown})
    return path


def read_landscape(path: Path) -> dict[str, Any]:
    """The fields of the landscape that `write_landscape` wrote."""
    header, arrays = read_arrays(path)
    if header.pop("format", None) != FORMAT or set(header) != set(FIELDS) or not set(SHOWN) <= set(arrays):
        raise SpecificationError(f"{path} is no landscape; Landscape.load reads what Landscape.save wrote")
    try:
        found = {name: decode(coded, _types(), arrays) for name, coded in header.items()}
    except WRONG as error:  # a request that no lattice meets is a ValueError too
        raise SpecificationError(f"{path} is no landscape of this version: {error}") from error
    squared = arrays["squared"]
    wrong = [name for name, kind in FIELDS.items() if not isinstance(found[name], kind)]
    if wrong or squared.dtype != np.float64 or squared.shape != found["traced"].lattice.input_shape[1:]:
        raise SpecificationError(f"{path} is no landscape: {', '.join(wrong) or 'its map'} does not fit the rest")
    squared.setflags(write=False)
    return {"squared": squared, **found}

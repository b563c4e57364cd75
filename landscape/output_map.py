"""The output side of a landscape: which output positions get more of the gradient than others."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.input_checks import either_spelling
from landscape.laws.moments import expected_squares
from landscape.stages import Request, fill_gates, read
from lattice import Lattice, ResourceError, Unit, UnsupportedError

if TYPE_CHECKING:
    import torch

__all__ = ["output_map"]

Array = np.ndarray[Any, Any]
MOST_SWEEPS = 4096  # one for each output position


@either_spelling
def output_map(
    model: torch.nn.Module | Callable[[], torch.nn.Module] | Lattice,
    shape: tuple[int, ...] | None = None,
    *,
    initialisation: Any = None,
    output: Any = None,
    gates: str = "theory",
) -> Array:
    """How much of its input's gradient each output position has: sum over inputs i of E[(dh_j/dx_i)^2], by output j (Eq. 8).

    The checkerboard of transposed convolutions stands in it, and the dark borders of zero padding, seen from the output.

    Parameters
    ----------
    model : torch.nn.Module, callable, or Lattice
        As for `predict`: a module, a factory of modules, or a lattice.
    shape : tuple of int, optional
        One input, (channels, *spatial); a lattice has its own.
    initialisation : callable, mapping, float or str, optional
        As for `predict`.
    output : key or index, optional
        The entry of a model that returns several tensors.
    gates : {"theory", "measured"}
        As for `predict`.

    Returns
    -------
    ndarray of float64
        Over the output positions, of channel 0: all channels of a layer with fresh weights are alike.

    Raises
    ------
    UnsupportedError
        Where the output has no positions, or an operation has no rule.
    ResourceError
        Where the output has too many positions: each takes one sweep.

    Examples
    --------
    >>> from lattice import ConvTranspose
    >>> net = Lattice.chain((1, 4), [ConvTranspose(1, kernel=3, stride=2, padding=1)])
    >>> output_map(net, initialisation=1.0)
    array([1., 2., 1., 2., 1., 2., 1.])
    """
    request = Request(shape, initialisation, output, "eval", gates)
    traced, request = read(model, request)
    traced, _ = fill_gates(traced, request)
    spatial = traced.lattice.output_shape[1:]
    if not spatial:
        raise UnsupportedError("the output is flat and has no positions; output_map is for networks that return maps")
    if prod(spatial) > MOST_SWEEPS:
        raise ResourceError(
            f"the output has {prod(spatial)} positions, each of which takes one sweep: {MOST_SWEEPS} at most; give a smaller "
            "input"
        )
    squares = [expected_squares(traced, Unit(where)).sum() for where in np.ndindex(*spatial)]
    return np.array(squares).reshape(spatial) * traced.lattice.input_shape[0]

"""What a `Rearrange` passes down."""

from math import prod
from typing import Any

import numpy as np

from lattice.network.ops import Shape
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources
from lattice.sweep.pullback import pull

__all__: list[str] = []

Array = np.ndarray[Any, Any]


@pull.register
def _(op: Rearrange, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    (shape,) = inputs
    batch = cotangent.shape[: cotangent.ndim - len(output)]
    if op.keeps_axes and op.takes[0] is None and cotangent.shape[len(batch)] < output[0]:
        shape, output = (1, *shape[1:]), (1, *output[1:])  # all channels are alike, before and after
        op = Rearrange(((1,), *op.factors[1:]), op.groups, op.takes)
    read = sources(op, shape).ravel()
    full = np.broadcast_to(cotangent, (*batch, *output)).reshape(prod(batch), -1)[:, read >= 0]
    cells = read[read >= 0]
    result = np.zeros((prod(batch), prod(shape)), cotangent.dtype)
    if len(np.unique(cells)) == len(cells):
        result[:, cells] = full
    else:
        np.add.at(result.T, cells, full.T)
    return (result.reshape(*batch, *shape),)

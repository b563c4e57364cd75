"""Traits say what a layer is for every analysis: one kind each, and every op has one."""

import dataclasses

import pytest

from lattice.network import ops

OPS = [op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, ops.Op) and dataclasses.is_dataclass(op)]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_every_op_is_of_one_kind(op):
    kinds = [ops.Pointwise, ops.Rearrangement, ops.Merge, ops.Windowed]
    assert sum(issubclass(op, kind) for kind in kinds) == (op not in (ops.Input, ops.Dense))
    assert issubclass(op, ops.Weighted) == (op in (ops.Conv, ops.ConvTranspose, ops.Dense))
    assert issubclass(op, ops.WeightedWindow) == (issubclass(op, ops.Weighted) and issubclass(op, ops.Windowed))

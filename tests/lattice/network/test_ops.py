"""Layers as values: what they say of themselves, their traits, and one number for all axes."""

import dataclasses
import pickle

import pytest

from lattice import Conv, ConvTranspose, Lattice, Op, Pool, Upsample, path_counts
from lattice.network import ops

CLASSES = [op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, Op) and dataclasses.is_dataclass(op)]
TRAITS = (ops.Weighted, ops.Pooling, ops.Pointwise, ops.Rearrangement, ops.Merge)
OWN = {"Input", "Pad", "Blur", "Upsample"}  # fixed maps that are none of these, and the input


@pytest.mark.parametrize("op", CLASSES, ids=lambda op: op.__name__)
def test_an_op_has_one_trait_at_most_and_a_reason_where_it_has_none(op):
    traits = [trait for trait in TRAITS if issubclass(op, trait)]
    assert len(traits) == (op.__name__ not in OWN)


@pytest.mark.parametrize("op", CLASSES, ids=lambda op: op.__name__)
def test_an_op_cannot_be_changed_and_has_no_other_fields(op):
    assert op.__dataclass_params__.frozen
    assert not hasattr(object.__new__(op), "__dict__")


EQUAL = [
    (Conv(3, 3), Conv(3, (3,))),
    (Conv(3, 3, padding=1), Conv(3, 3, padding=((1, 1),))),
    (Pool("avg", 2), Pool("avg", 2, stride=2)),
    (ConvTranspose(1, 2, 2), ConvTranspose(1, (2,), (2,))),
]


@pytest.mark.parametrize(("short", "long"), EQUAL, ids=lambda op: str(op))
def test_one_number_stands_for_every_axis(short, long):
    one, other = Lattice.chain((2, 9), [short]), Lattice.chain((2, 9), [long])
    assert one.output_shape == other.output_shape
    assert path_counts(one, input_channel=0).tolist() == path_counts(other, input_channel=0).tolist()


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Conv(8, kernel=3, padding=1), "Conv(8, kernel=3, padding=1)"),
        (Conv(8, 1), "Conv(8, kernel=1)"),
        (Upsample(size=7, mode="linear"), "Upsample(None, mode='linear', size=7)"),
    ],
)
def test_an_op_is_written_with_what_is_not_the_default(op, text):
    assert str(op) == text


def test_equal_ops_are_one_key_and_survive_a_pickle():
    assert len({Conv(8, 3), Conv(8, kernel=3), Conv(8, 3, 1)}) == 1
    assert pickle.loads(pickle.dumps(Conv(8, 3))) == Conv(8, 3)

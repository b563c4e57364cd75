"""Output shapes are those of torch's layers, and of single steps counted one by one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import (
    Activation,
    Add,
    ChannelShuffle,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Multiply,
    Norm,
    PixelShuffle,
    Slice,
    SpecificationError,
    UnsupportedError,
)
from lattice.network.shapes import output_shape
from lattice.testing.strategies import EVERY_OP, lattices
from validation.montecarlo.build import build


@given(lattices(ops=EVERY_OP))
@settings(max_examples=60)
def test_the_output_of_any_network_has_the_shape_that_torch_gives_it(net):
    try:
        model = build(net, 1.0).eval()
    except UnsupportedError:
        return  # torch has no such layer
    with torch.no_grad():
        assert tuple(model(torch.zeros(1, *net.input_shape)).shape[1:]) == net.output_shape


@given(*(st.integers(1, 5) for _ in range(3)), st.integers(0, 4), st.integers(1, 20))
def test_a_window_stands_wherever_it_fits(kernel, stride, dilation, padding, n):
    span, padded = dilation * (kernel - 1) + 1, n + 2 * padding
    starts = [start for start in range(0, padded, stride) if start + span <= padded]
    conv = Conv(3, kernel, stride, padding, dilation)
    if starts:
        assert output_shape(conv, (2, n)) == (3, len(starts))
    else:
        with pytest.raises(SpecificationError, match=f"the padded input has only {padded}"):
            output_shape(conv, (2, n))


@pytest.mark.parametrize(
    ("op", "shapes", "expected"),
    [
        (Flatten(), [(3, 4, 5)], (60,)),
        (Dense(7), [(60,)], (7,)),
        (GlobalPool(), [(3, 4, 5)], (3, 1, 1)),
        (PixelShuffle(2), [(12, 4, 5)], (3, 8, 10)),
        (ChannelShuffle(3), [(12, 4)], (12, 4)),
        (Slice(2, 5), [(12, 4)], (3, 4)),
        (Concat(), [(2, 4), (3, 4), (1, 4)], (6, 4)),
        (Add(), [(2, 4), (2, 4)], (2, 4)),
        (Multiply(), [(2, 4), (2, 1)], (2, 4)),
        (Multiply(), [(1, 4), (2, 4)], (2, 4)),
        (Activation("relu"), [(2, 4)], (2, 4)),
        (Norm("group", 2), [(4, 4)], (4, 4)),
    ],
    ids=str,
)
def test_shapes_of_what_has_no_window(op, shapes, expected):
    assert output_shape(op, *shapes) == expected

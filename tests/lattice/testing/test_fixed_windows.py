"""Nets whose windows a theorem fixes: what is fixed holds, what is free is drawn, and nothing is filtered away."""

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from lattice import Conv, Lattice, Norm, Pool, SpecificationError, compose, evenness, is_regular, pascal_row, path_counts
from lattice.network.ops import Windowed
from lattice.testing.strategies import above, lattices

MAYBE = st.none() | st.integers(1, 3)


@given(st.data(), MAYBE, MAYBE, st.none() | st.integers(0, 3), MAYBE)
def test_what_is_fixed_holds_for_every_window(data, kernel, stride, padding, dilation):
    net = data.draw(lattices(kernel=kernel, stride=stride, padding=padding, dilation=dilation))
    for node in net.nodes:
        if isinstance(node.op, Conv | Pool):
            for name, value in {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}.items():
                assert value is None or getattr(node.op, name) == value


@given(lattices(ops=Conv, modes="zeros", axes=2, depth=(2, 2), branches=False, heads=False))
def test_depth_and_axes_hold_where_no_window_is_fixed(net):
    assert [type(node.op) for node in net.nodes[1:]] == [Conv, Conv]
    assert len(net.input_shape) == 3


@given(lattices(stride=2, axes=2, depth=(2, 3), ops=[Conv], branches=False, heads=False))
def test_depth_and_axes_hold_where_windows_are_fixed(net):
    assert len(net.nodes) in (3, 4)
    assert len(net.input_shape) == 3


@given(lattices(heads=False), st.data())
def test_a_net_above_another_reads_its_output(lower, data):
    upper = data.draw(above(lower, depth=(2, 2), branches=False))
    assert upper.input_shape == lower.output_shape
    assert len(upper.nodes) == 3
    assert compose(lower, upper).output_shape == upper.output_shape


@given(lattices(regular=True))
def test_regular_nets_are_regular(net):
    assert is_regular(net)


@given(st.data(), MAYBE, MAYBE, st.none() | st.integers(0, 3), MAYBE)
def test_symmetric_nets_have_even_windows_and_symmetric_counts(data, kernel, stride, padding, dilation):
    net = data.draw(lattices(kernel=kernel, stride=stride, padding=padding, dilation=dilation, symmetric=True))
    assert all(row.even for row in evenness(net))
    counts = path_counts(net, input_channel=0)
    assert (counts == np.flip(counts)).all()


@given(
    lattices(padding=0, stride=1, dilation=1, kernel=3, channels=1, ops=[Conv], axes=st.just(1), branches=False, heads=False)
)
def test_a_theorem_in_two_lines_holds_for_unpadded_nets(net):
    depth = len(net.nodes) - 1
    assert list(path_counts(net, output=(0,))[: 2 * depth + 1]) == list(pascal_row(3, depth))


@pytest.mark.parametrize(
    "wanted",
    [
        lambda net: any("add" in name for name in net.names),
        lambda net: sum(isinstance(node.op, Windowed) for node in net.nodes) == 3,
        lambda net: len(net.input_shape) == 3,
        lambda net: any(isinstance(node.op, Norm) for node in net.nodes),
        lambda net: any(isinstance(node.op, Pool) for node in net.nodes),
        lambda net: not all(row.even for row in evenness(net)),
    ],
    ids=["a skip", "three layers", "two axes", "a norm", "a pool", "uneven windows"],
)
def test_what_is_not_fixed_is_drawn(wanted):
    assert isinstance(find(lattices(kernel=3), wanted), Lattice)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kernel": 0}, "kernel is 0"),
        ({"padding": 1, "regular": True}, "a regular lattice has no padding"),
        ({"stride": 2, "ops": [Norm]}, "Conv and Pool"),
        ({"axes": 0}, "axes is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"depth": (3, 2)}, "depth is 2; it is a whole number, at least 3"),
        ({"depth": (1, 2, 3)}, "depth is"),
        ({"modes": "zero"}, "modes is .*lists one or more of zeros, circular"),
        ({"ops": []}, "ops is .*lists one or more of .*Conv"),
    ],
)
def test_windows_that_cannot_be_fixed_are_refused(options, says):
    with pytest.raises(SpecificationError, match=says):
        find(lattices(**options), lambda _: True)

"""Rearrangements: the cells that they read, their routes, and the moments that pass them."""

from collections import Counter

import numpy as np
import pytest

import landscape
from lattice import (
    Attention,
    Conv,
    Dense,
    Flatten,
    Lattice,
    Pool,
    Rearrange,
    Resample,
    SpecificationError,
    Unit,
    UnsupportedError,
    commands,
    path_counts,
    route,
)
from lattice.network.rearrange import ListedWindow
from lattice.network.shapes import output_shape, sources
from validation.montecarlo.enumerate import enumerated_squared_gradients

SPACE_TO_DEPTH = Rearrange(((2,), (2, 2), (2, 2)), ((2, 4, 0), (1,), (3,)))
TOKENS = Rearrange(((2,), (4,), (4,)), ((0,), (1, 2)))
CROP = Rearrange(((2,), (2,), (3,)), ((0,), (1,), (2,)), (None, (1, 2), (-1, 3, 0)))
TRANSPOSED = Rearrange(((2,), (4,), (4,)), ((0,), (2,), (1,)))
REPEATED = Rearrange(((3,), (4,), (4,)), ((0,), (1,), (2,)), ((1, 0, 1), None, None))
OPS = {"space to depth": SPACE_TO_DEPTH, "tokens": TOKENS, "crop": CROP, "transposed": TRANSPOSED, "repeated": REPEATED}
PLANE = (2, 4, 4)


def counted(net):
    """How many command vectors lead from any output unit to each position of input channel 0."""
    channels, *spatial = net.output_shape
    units = [Unit(tuple(p), c) for p in np.ndindex(*spatial) for c in range(channels)]
    ends = (route(net, vector, unit) for unit in units for vector in commands(net, unit))
    found = Counter(end.position for end in ends if end.channel == 0)
    return np.array([found[p] for p in np.ndindex(*net.input_shape[1:])], dtype=object).reshape(net.input_shape[1:])


@pytest.mark.parametrize("name", OPS)
def test_counts_are_those_of_the_routes_listed(name):
    net = Lattice.chain(PLANE, [OPS[name], Conv(1, 2 if name != "tokens" else 3)])
    assert (path_counts(net, input_channel=0) == counted(net)).all()


def test_cells_are_read_where_the_pattern_says():
    x = np.arange(32).reshape(PLANE)
    assert (sources(TOKENS, PLANE) == x.reshape(2, 16)).all()
    assert (sources(TRANSPOSED, PLANE) == x.swapaxes(1, 2)).all()
    blocks = x.reshape(2, 2, 2, 2, 2)  # c, h, a, w, b
    assert (sources(SPACE_TO_DEPTH, PLANE) == blocks.transpose(2, 4, 0, 1, 3).reshape(8, 2, 2)).all()
    assert (sources(CROP, PLANE)[:, :, 0] == -1).all()
    assert str(SPACE_TO_DEPTH) == "Rearrange('c (h1 h2) (w1 w2) -> (h2 w2 c) h1 w1', h1=2, h2=2, w1=2, w2=2)"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Rearrange(((2,), (3,)), ((0,),)), "stands in one group"),
        (lambda: Rearrange(((2,), (3,)), ((0,), (1,)), (None, (1, 2))), "2 cells are kept"),
        (lambda: output_shape(TOKENS, (2, 4, 5)), "does not split"),
        (lambda: output_shape(CROP, (2, 2, 4)), "keeps cell 2"),
        (lambda: output_shape(TOKENS, (2, 16)), "takes an input of 3 axes"),
        (lambda: Attention(0), "whole number from 1"),
        (lambda: output_shape(Attention(2), (4, 3), (6, 3), (4, 3)), "as many channels"),
        (lambda: output_shape(Attention(1, (((0,), (9,)),)), (4, 2), (4, 3), (4, 3)), "reads cell 9"),
        (lambda: ListedWindow(((0, 1),), ((0.5,),)), "one finite number"),
    ],
)
def test_what_does_not_fit_is_refused(make, match):
    with pytest.raises(SpecificationError, match=match):
        make()


OVERLAP = Pool("avg", 2, 1)
STRIDED = Rearrange(((1,), (2,), (2,)), ((0,), (1,), (2,)), (None, (0, 2), (2, 1)))
CUBIC = Resample((ListedWindow(((0, 1), (1, 2), (3,)), ((0.5, 0.5), (-0.2, 1.2), (1.0,))),) * 2)


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(2, 2), TRANSPOSED_, OVERLAP, Flatten(), Dense(1)]
        for TRANSPOSED_ in [Rearrange(((2,), (3,), (3,)), ((0,), (2,), (1,)))]
    ]
    + [
        [Conv(2, 1), Rearrange(((2,), (4,), (4,)), ((0,), (1, 2))), Pool("avg", 3, 2), Flatten(), Dense(1)],
        [OVERLAP, Rearrange(((1,), (3,), (3,)), ((0,), (1, 2))), Conv(2, 3, stride=2), Pool("avg", 2, 1), Flatten(), Dense(1)],
        [OVERLAP, STRIDED, Conv(2, 1), OVERLAP, Flatten(), Dense(1)],
        [Conv(1, 1), Rearrange(((1,), (2, 2), (2, 2)), ((2, 4, 0), (1,), (3,))), Conv(2, 1), OVERLAP, Flatten(), Dense(1)],
        [CUBIC, Conv(2, 2), Flatten(), Dense(1)],
    ],
    ids=["transposed", "tokens", "tokens of averages", "strided part", "space to depth", "resampled"],
)  # fmt: skip
def test_second_moments_equal_those_of_all_signs(layers):
    """Every +-1 weight pattern of a linear network: the expectation itself."""
    net = Lattice.chain((1, 4, 4), layers)
    land = landscape.predict(net, initialisation=1.0)
    assert land.guarantee.name == "EXACT"
    np.testing.assert_allclose(land.squared, enumerated_squared_gradients(net), rtol=1e-12)


def test_positions_that_become_channels_and_positions_again_are_refused():
    there = Rearrange(((2,), (2, 2)), ((0, 2), (1,)))
    back = Rearrange(((2, 2), (2,)), ((0,), (2, 1)))
    net = Lattice.chain((1, 5), [Pool("avg", 2, 1), Conv(2, 1), there, back, Pool("avg", 2, 1), Flatten(), Dense(1)])
    with pytest.raises(UnsupportedError, match="no rule"):
        landscape.predict(net, initialisation=1.0)

"""Where gradients of two positions can be correlated, against their products over every pattern of weights."""

import pytest

from landscape.structure.correlated_positions import correlated_positions, reads_several
from lattice import Blur, Conv, Dense, Flatten, GlobalPool, Lattice, Pad, Pool, Upsample
from tests.landscape.patterns import pair_moments

HEADS = {"pooled": [GlobalPool(), Flatten(), Dense(1)], "flattened": [Flatten(), Dense(1)], "none": []}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "layers",
    [
        [Conv(1, 3)],
        [Conv(1, 2, 2), Conv(1, 2)],
        [Pool("avg", 2), Conv(1, 2)],
        [Conv(1, 2), Pool("avg", 2)],
        [Pool("avg", 1), Conv(1, 2)],
        [Blur((1, 2, 1)), Conv(1, 2)],
        [Conv(1, 2), Upsample(2)],
        [Conv(1, 2), Upsample(2, mode="linear")],
    ],
)
def test_positions_are_correlated_exactly_where_products_do_not_vanish(layers, head):
    net = Lattice.chain((1, 4), [*layers, *HEADS[head]])
    moments = pair_moments(net)
    off_diagonal = bool((moments - moments.diag().diag()).abs().max() > 1e-12)
    assert correlated_positions(net)[0] or not off_diagonal
    if not isinstance(layers[-1], Upsample):  # a nearest resize copies cells: products of one cell's copies are known there
        assert correlated_positions(net)[0] == off_diagonal


def test_what_stands_above_an_average_is_as_its_output():
    net = Lattice.chain((1, 12), [Conv(1, 3), Pad(1), Pool("avg", 2), Conv(1, 3), Flatten(), Dense(2)])
    assert correlated_positions(net) == [True, True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("op", "several"),
    [(Pool("avg", 2), True), (Pool("avg", 1), False), (Pool("avg", (1, 2)), True), (Conv(1, 1), False), (GlobalPool(), True)],
)
def test_a_layer_reads_several_cells_if_a_window_has_several(op, several):
    assert reads_several(op, (4, 4)) == several


def test_a_flat_layer_has_no_positions_to_read():
    assert not reads_several(Dense(3), ())

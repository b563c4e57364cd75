"""Periods of grids, by hand: products of strides along the way up."""

import pytest

from landscape.maps.periods import stride_periods
from lattice import Activation, AdaptivePool, Conv, ConvTranspose, GlobalPool, Lattice, Pool, Upsample, residual

relu = Activation("relu")


@pytest.mark.parametrize(
    ("layers", "periods"),
    [
        ([Conv(2, 3, padding=1)], []),
        ([Conv(2, 3, 2), Pool("max", 2), Conv(2, 3, 3)], [2, 4, 12]),
        ([Pool("avg", 3, (1, 2)), Conv(2, 3, (3, 2))], [2, 6]),
        ([Conv(2, 3, 3), Conv(2, 3), GlobalPool()], [3]),
        ([AdaptivePool("avg", 16), Conv(2, 1, 3)], [3, 9]),
        ([Conv(2, 3, 2), Upsample(2), Conv(2, 3, 2)], [2, 4]),
        ([ConvTranspose(2, 2, 2), Conv(2, 3, 3)], [3]),
        ([residual([Conv(1, 2, 2)], [Pool("avg", 2)]), Conv(2, 3, 3)], [2, 6]),
        ([residual([Conv(2, 2, 2), Conv(2, 2, 2)], [Conv(2, 4, 4)]), relu], [2, 4]),
    ],
    ids=str,
)
def test_a_grid_can_appear_at_the_products_of_strides_from_the_input_up(layers, periods):
    assert stride_periods(Lattice.chain((1, 48, 48), layers)) == periods

"""The multinomial formula gives the path counts of regular lattices, and the channels' share of them."""

from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lattice import (
    Conv,
    Lattice,
    SpecificationError,
    Unit,
    commands,
    families,
    path_counts,
)
from lattice.counts.regular import is_regular, multinomial_count
from tests.lattice.counts.stacked import stacks


@settings(max_examples=150)
@given(st.one_of(stacks(), stacks(axes=2), stacks(most_channels=2)), st.data())
def test_the_formula_gives_the_path_counts_of_regular_lattices(net, data):
    assume(is_regular(net))
    output = Unit(
        tuple(data.draw(st.integers(0, n - 1)) for n in net.output_shape[1:]),
        data.draw(st.integers(0, net.output_shape[0] - 1)),
    )
    for channel in range(net.input_shape[0]):
        counts = path_counts(net, output, input_channel=channel)
        for position in np.ndindex(counts.shape):
            assert multinomial_count(net, output, Unit(position, channel)) == counts[position]
    spatial = path_counts(net, output.position, channels=False)
    position = tuple(data.draw(st.integers(0, n - 1)) for n in net.input_shape[1:])
    assert multinomial_count(net, output, position, channels=False) == spatial[position]


def test_with_channels_the_printed_formula_counts_paths_to_all_of_them():
    """Erratum: a route ends in the channel of its bottom command, so the formula is too large by the number of channels."""
    net = Lattice.chain((2, 1), [Conv(2, kernel=1), Conv(2, kernel=1)])
    multisets = {tuple(sorted(vector, key=repr)) for vector in commands(net, (0,))}
    printed = sum(2 if one != other else 1 for one, other in multisets)  # 2! / prod #c!
    assert printed == 4
    assert path_counts(net, (0,))[0] == 2 == multinomial_count(net, (0,), (0,))


def test_the_multinomial_sum_is_the_central_trinomial_coefficient():
    net = families.plain(401, 200)
    central = sum(comb(200, 2 * k) * comb(2 * k, k) for k in range(101))
    assert multinomial_count(net, (0,), (200,)) == central


def test_units_that_do_not_exist_are_named():
    with pytest.raises(SpecificationError, match=r"input has shape \(1, 9\)"):
        multinomial_count(families.plain(9, 2), (0,), (9,))

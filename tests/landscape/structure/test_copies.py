"""Where positions are channels for a while, and what is missed there."""

import pytest

from landscape.structure.plan import plan
from lattice import Conv, Dense, Flatten, GlobalPool, Lattice, Pool, Rearrange

TO_CHANNELS = Rearrange(((3,), (6,)), ((0, 1),))
BACK = Rearrange(((3, 6),), ((0,), (1,)))
HEAD = [Conv(3, 1), GlobalPool(), Flatten(), Dense(1)]


@pytest.mark.parametrize("there", [TO_CHANNELS, Flatten()], ids=str)
def test_positions_that_were_channels_are_told_and_where_they_were_gathered(there):
    net = Lattice.chain((1, 6), [Pool("avg", 3, 1, 1), Conv(3, 1), there, BACK, *HEAD])
    planned = plan(net)
    assert planned.unresolved == ()
    assert planned.copies == (net.names[4],)
    assert planned.gathering == {3}
    (pairs,) = planned.carried[2, 2]
    assert set((pairs.second - pairs.first).tolist()) == {-2, -1, 0, 1, 2}  # what the average below asks for


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(3, 1), TO_CHANNELS, BACK, *HEAD],  # nothing below asks for pairs of positions
        [Pool("avg", 3, 1, 1), Conv(3, 1), TO_CHANNELS, BACK, Conv(3, 1), Flatten(), Dense(1)],  # nothing pairs them above
    ],
)
def test_nothing_is_missed_where_pairs_are_not_asked_for_or_are_zero(layers):
    assert plan(Lattice.chain((1, 6), layers)).copies == ()

"""What passes each op, of the moments K(u, u') at pairs of positions: the rules of `landscape.laws.positions.sweep`."""

from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np

from landscape.gates.averaging import ratio
from landscape.gates.filters import Crossing
from landscape.gates.windows.copies import Copied, of_copies
from landscape.gates.windows.pairs_of_winners import Winners, to_pairs_of_winners, to_shared_winners
from landscape.laws.attention import through_attention
from landscape.structure.arrays import (
    across,
    at_cells,
    at_first,
    collect,
    diagonal_of,
    on_diagonal,
    one_row,
    outer,
    rearranged,
    sides,
)
from landscape.structure.joint_pairs import collect_jointly
from landscape.structure.pairs import Maps, freeze
from landscape.structure.pairs import diagonal as diagonal_pairs
from landscape.structure.plan import Axes, Plan, Step, all_taps, takes_a_mean, window_sizes
from landscape.weights.fans import weighted
from lattice import (
    Activation,
    Dense,
    Dropout,
    Flatten,
    Lattice,
    Multiply,
    Node,
    Norm,
    Op,
    PixelShuffle,
    Slice,
    UnsupportedError,
)
from lattice.network.attention import Attention
from lattice.network.ops import Pooling, WeightedWindow, Windowed
from lattice.network.rearrange import Rearrange
from lattice.sweep.pullback import pull, sum_channels

__all__ = ["Local", "as_of_one", "is_diagonal", "is_linear_in_channels", "through_step"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Local(Protocol):
    """What the sweep asks of a node besides its topology; arrays broadcast against its output (channels, *spatial)."""

    filters: frozenset[str]  # the convolutions that have a `crossing`

    def begin(self) -> None:
        """A sweep begins."""

    def follows(self, node: Node) -> bool:
        """Does it ask for the moments of a node?"""

    def reached(self, node: Node, moments: Array, exponent: int) -> None:
        """The sweep has come to a node: m 2^e are its moments, and what it passes on is asked for next."""

    def squared(self, node: Node, number: int = 0) -> Any:
        """E[(dh/du)^2] along one connection to the input of this number: V[w], E[phi'^2], 1 / n^2, ...; None: its maps tell."""

    def single(self, node: Node, number: int = 0) -> Any:
        """E[dh/du] of a node without weights, apart from the coefficients of its map; with its sign."""

    def beside(self, node: Node, other: int) -> Any:
        """`single` beside a path at this other node, at one position: both go through what lies below; None: `single`."""

    def joint(self, node: Node, axes: Axes, number: int = 0) -> Any:
        """E[dh/du dh'/du'] of a node without weights at pairs of positions, apart from the coefficients of its map."""

    def levels(self, node: Node, axes: Axes, number: int = 0) -> Array | None:
        """What a `joint` that is one for all channels is times, channel by channel, (channels, 1, ...), of mean one."""

    def edge(self, node: Node, number: int) -> Any:
        """The factor on what a sum gives to its input of this number; None for 1."""

    def logits(self, node: Node) -> Any:
        """How much the logits of attention vary, `landscape.gates.forward.logits.Logits`; None: not at all."""

    def taps(self, node: Node) -> Array | None:
        """How often each tap of each window of a maximum wins, (taps, channels or 1, *outputs); None: all alike."""

    def winners(self, node: Node) -> Winners | None:
        """Which cells win two windows of a maximum, at the pairs that are carried; None where it is not known."""

    def crossing(self, node: Node) -> Crossing | None:
        """What pairs of different taps of a filter over few channels give beside V[w]; None: nothing."""


def through_step(lattice: Lattice, planned: Plan, local: Local, step: Step, here: Array) -> Array:
    """The moments of the target that come from those of the source through this step."""
    node = lattice.nodes[step.node]
    above, below = planned.carried[step.source], planned.carried[step.target]
    shapes, output = lattice.input_shapes(node), lattice.shapes[step.node]
    left = step.places[0]
    if isinstance(node.op, Flatten):  # its features are apart
        below = tuple(diagonal_pairs(n) for n in shapes[0][1:])
    diagonal = step.side is None and is_diagonal(above, below)
    if step.side is None and isinstance(node.op, Norm) and node.op.kind in ("instance", "group"):
        here = _spread_by_projections(node.op, output, here, above)
    if diagonal and (taps := local.taps(node)) is not None:
        assert isinstance(node.op, Windowed)
        result = _to_winners(node.op, shapes[0][1:], here, taps)
    elif diagonal and (weight := local.squared(node, left)) is not None:
        result = pull(node.op, shapes, _times(here, weight), output)[left]
    elif isinstance(node.op, Windowed):
        of = of_copies(lattice, step.node, below) if step.side is None and _is_maximum(node.op) else None
        result = _through_windows(node, shapes[0], step, local, here, above, below, of)
    elif isinstance(node.op, Multiply):
        weighed = _times(here, _pair_weight(node, local, step, output, above))
        result = _to_factor(weighed, shapes[left], output, step.maps, above, below)
    elif isinstance(node.op, Attention):
        result = through_attention(node.op, shapes, step, local.logits(node), here, above, below)
    elif isinstance(node.op, Slice) and not diagonal and step.side is None and _is_summed(lattice, step.target[0]):
        weighed = _times(here, _pair_weight(node, local, step, output, above))
        result = rearranged(_mean_channel(weighed, np.ones(output[0], dtype=bool), shapes[0][0]), above, below)
    elif isinstance(node.op, Rearrange):
        summed = not diagonal and step.side is None and _is_summed(lattice, step.target[0])
        result = _rearranged_cells(node.op, shapes[0], step, here, above, below, summed)
    elif isinstance(node.op, PixelShuffle):
        assert step.maps is not None
        result = _unshuffle(node.op, shapes[0], step.maps, here, above, below)
    elif step.maps is not None and shapes[left][0] == output[0]:  # positions move, channels stay
        result = collect(step.maps, _times(here, _pair_weight(node, local, step, output, above)), above, below)
    elif step.maps is not None:
        raise UnsupportedError(
            f"{node.name}: {node.op!r} moves positions and changes the channels, where moments between positions are carried; "
            "there is a rule for pixel shuffles only, in landscape.laws.positions.through_ops"
        )
    elif step.side is None and takes_a_mean(node.op, output):
        result = _less_means(node.op, output, _times(here, _pair_weight(node, local, step, output, above)), above, below)
    else:
        sizes = tuple(map(len, above))
        weighed = _times(here, _pair_weight(node, local, step, output, above))
        result = pull(node.op, tuple((shape[0], *sizes) for shape in shapes), weighed, (output[0], *sizes))[left]
        result = rearranged(result, above, below)
    result = _on_edges(node, local, step, result, output, below)
    return rearranged(result, below, planned.carried[step.target]) if isinstance(node.op, Flatten) else result


def _on_edges(node: Node, local: Local, step: Step, here: Array, output: Shape, axes: Axes) -> Array:
    """The factor of the edge that is gone down; its root where only one side of a moment goes down it."""
    whole = step.side is None and step.places[0] == step.places[1]
    for side in (0,) if whole else (0, 1) if step.side is None else (step.side,):
        factor = local.edge(node, step.places[side])
        here = here if factor is None else _times(here, _at(factor if whole else np.sqrt(factor), output, axes, side))
    return here


def is_diagonal(above: Axes, below: Axes) -> bool:
    """Is nothing but the diagonal carried, on both sides of a node? Then its topology alone, squared, is the rule."""
    return all(pairs.is_diagonal for pairs in (*above, *below))


def _times(here: Array, weight: Any) -> Array:
    if isinstance(weight, int) and weight == 1:
        return here
    if np.ndim(weight) == here.ndim:
        weight = one_row(weight)
    return here * weight


def _pair_weight(node: Node, local: Local, step: Step, output: Shape, axes: Axes) -> Any:
    """The weight of each pair in an op that keeps positions."""
    number = step.places[step.side or 0]
    if step.side is not None:
        weight = _at(local.single(node, number), output, axes, step.side)
        same = local.beside(node, step.source[1 - step.side])
        return weight if same is None else np.where(on_diagonal(axes), _at(same, output, axes, step.side), weight)
    return local.joint(node, axes, number)


def _to_factor(here: Array, shape: Shape, output: Shape, maps: tuple[Maps, ...] | None, above: Axes, below: Axes) -> Array:
    """What an input of a product collects, summed over the positions and channels that it was broadcast to."""
    if shape[0] < output[0]:  # different channels are uncorrelated: their moments add
        here = here.sum(axis=0, keepdims=True) * (output[0] // here.shape[0])
    return rearranged(here, above, below) if maps is None else collect(maps, here, above, below)


def _at(values: Any, output: Shape, axes: Axes, side: int | None) -> Any:
    """Values over (channels, *spatial) at the left (0) or right (1) position of each pair; None: at pairs of equal ones."""
    if np.ndim(values) == 0:
        return values
    full = np.broadcast_to(values, (np.shape(values)[0] if np.ndim(values) == len(output) else 1, *output[1:]))
    return at_cells(full, [pairs.second if side else pairs.first for pairs in axes])


def _spread_by_projections(op: Norm, shape: Shape, here: Array, axes: Axes) -> Array:
    """The diagonal of K above a norm over n values, so that what its two projections take elsewhere is spread over all n.

    The Jacobian I - 1 1'/n - u u' of independent Gaussian values, u without preference among the directions of mean zero, has
    E[J(p, p)^2] = (n - 2) / n (n - 1) / (n + 1) and E[J(p, q)^2] = (n - 2) / n 2 / (n^2 - 1); (n - 2) / n is
    taken by `kept_by_norms`.
    """
    groups = shape[0] if op.kind == "instance" else op.groups
    n = shape[0] // groups * prod(shape[1:])
    if n <= 2:
        return here
    own = diagonal_of(here, axes)
    means = own.reshape(len(own), -1).mean(axis=1)
    means = means if len(own) == 1 else np.repeat(means.reshape(groups, -1).mean(axis=1), len(own) // groups)
    more = 2 * n / (n**2 - 1) * (means.reshape(-1, *(1 for _ in axes)) - own)
    if all(pairs.is_diagonal for pairs in axes):
        return np.asarray(here + more)
    spread = here.copy()
    spread[across([np.flatnonzero(pairs.first == pairs.second) for pairs in axes])] += more
    return spread


def _less_means(op: Op, shape: Shape, here: Array, above: Axes, below: Axes) -> Array:
    """K of g - mean(g), with the mean over the positions and the m channels of a group:

    K(p, q) - (R(p) + R(q)) / m + S / m^2 for each channel, R(p) the mean of K(p, q) over q, S the sum over the channels of its
    mean over all pairs. Of one position with itself it is the share of n values that `kept_by_norms` has taken already.
    """
    assert isinstance(op, Norm)
    m = 1 if op.kind == "instance" else shape[0] // op.groups
    apart = here * ~on_diagonal(above)

    def mean(left: bool, right: bool) -> Array:
        sides = [[freeze(np.full((n, n), 1 / n) if side else np.eye(n)) for side in (left, right)] for n in shape[1:]]
        return collect(tuple(((a, b),) for a, b in sides), apart, above, below)

    whole = mean(True, True)
    if len(whole) > 1:
        sums = whole.reshape(-1, m, *whole.shape[1:]).mean(axis=1, keepdims=True)
        whole = np.broadcast_to(sums, (len(sums), m, *whole.shape[1:])).reshape(whole.shape)
    return rearranged(here, above, below) - (mean(True, False) + mean(False, True) - whole) / m


def is_linear_in_channels(lattice: Lattice, step: Step) -> bool:
    """Does each channel of the target get what the same channel of the node has, or the mean of its group, in the same way?"""
    op = lattice.nodes[step.node].op
    if isinstance(op, WeightedWindow | Dense):
        return True
    if lattice.shapes[step.target[0]][0] != lattice.shapes[step.node][0]:
        return False
    fixed = isinstance(op, Norm) and op.kind in ("batch", "scale")
    return fixed or isinstance(op, Activation | Dropout | Multiply) or (isinstance(op, Windowed) and not _is_maximum(op))


def as_of_one(lattice: Lattice, step: Step, here: Array, axes: Axes) -> Array:
    """The most that K can be where a node gathered positions, or channels, that one signal stands on: |K(i, i')|^2 is at most
    K(i, i) K(i', i') (Cauchy and Schwarz)."""
    shape, output = lattice.shapes[step.target[0]], lattice.shapes[step.node]
    size = np.sqrt(np.maximum(diagonal_of(here, axes), 0))
    more = output[0] / shape[0] if isinstance(lattice.nodes[step.node].op, Multiply) else 1.0
    return np.asarray(np.maximum(here, more * _at(size, shape, axes, 0) * _at(size, shape, axes, 1)))


# --- ops that read neighbourhoods -----------------------------------------------------------------------------------------


def _is_maximum(op: Op) -> bool:
    return isinstance(op, Pooling) and op.kind == "max"


def _through_windows(
    node: Node, shape: Shape, step: Step, local: Local, here: Array, above: Axes, below: Axes, of: Copied | None
) -> Array:
    op = node.op
    assert step.maps is not None
    if weighted(op):
        assert isinstance(op, WeightedWindow)
        here = sum_channels(_times(here, local.squared(node)), len(above), op.channels, shape[0], op.groups)
        crossing = local.crossing(node)
        if crossing is not None:
            return _across_taps(crossing, step.maps, here, above, below)
    elif _is_maximum(op):
        assert isinstance(op, Pooling)
        rates, known = local.taps(node), local.winners(node)
        if step.side is None and of is not None and rates is not None:
            known = None if known is None else known._replace(below=of.at_cells(known.below))
            cells = _maximum(of.op, node, of.spatial, of.maps, local, here, above, of.axes, of.rates(rates), known)
            return of.at_copies(cells)
        if step.side is None:
            return _maximum(op, node, shape[1:], step.maps, local, here, above, below, rates, known)
        here = _times(here, local.single(node))
    return collect(step.maps, here, above, below)


def _across_taps(crossing: Crossing, maps: tuple[Maps, ...], here: Array, above: Axes, below: Axes) -> Array:
    """K through a filter over few channels: equal taps, and different ones at two positions of its output."""
    same = collect(maps, here, above, below)
    cells = (1, *(pairs.left for pairs in above))
    apart = here * (_at(crossing.few, cells, above, 0) * _at(crossing.few, cells, above, 1) * ~on_diagonal(above))
    unequal = collect(tuple(map(all_taps, maps)), apart, above, below) - collect(maps, apart, above, below)
    return np.where(on_diagonal(below), same + crossing.one * unequal, crossing.same * same + crossing.two * unequal)


def _is_summed(lattice: Lattice, n: int) -> bool:
    """Does a node sum over all of its channels on the way down, so that their mean is enough? All pairs of each are many."""
    op = lattice.nodes[n].op
    return isinstance(op, Dense) or (isinstance(op, WeightedWindow) and op.groups == 1)


def _mean_channel(here: Array, read: Array, channels: int) -> Array:
    """The mean over the channels below of moments that go to some of them, each reader's where `read`."""
    total = here * read.sum() if len(here) == 1 else here[read].sum(axis=0, keepdims=True)
    return np.asarray(total / channels)


def _rearranged_cells(
    op: Rearrange, shape: Shape, step: Step, here: Array, above: Axes, below: Axes, summed: bool = False
) -> Array:
    """The moments go where the cells came from; channels that nothing reads get none."""
    if step.maps is None:
        return collect_jointly(op, shape, here, above, below, summed)
    here = collect(step.maps, here, above, below)
    take = op.takes[0]
    if take is None:
        return here
    if summed:
        return _mean_channel(here, np.array(take) >= 0, shape[0])
    channels = Rearrange(((len(take),),), ((0,),), (take,))
    moved = np.moveaxis(np.broadcast_to(here, (len(take), *here.shape[1:])), 0, -1)
    return np.moveaxis(pull(channels, (shape[:1],), moved, (len(take),))[0], -1, 0)


def _unshuffle(op: PixelShuffle, shape: Shape, maps: tuple[Maps, ...], here: Array, above: Axes, below: Axes) -> Array:
    """Positions r i + a of the output become channels a of position i."""
    parts = [
        collect(tuple((axis[a],) for axis, a in zip(maps, offsets, strict=True)), here, above, below)
        for offsets in product(range(op.factor), repeat=len(maps))
    ]
    stacked = np.stack(np.broadcast_arrays(*parts), axis=1)  # (channels of the output or 1, offsets, *pairs)
    full = np.broadcast_to(stacked, (shape[0] // len(parts), *stacked.shape[1:]))
    return full.reshape(shape[0], *full.shape[2:])


# --- maxima ---------------------------------------------------------------------------------------------------------------


def _to_winners(op: Windowed, spatial: Shape, here: Array, rates: Array) -> Array:
    """sum over windows j and taps k of rate(k, j) K(j, j), at the cell that the tap reads."""
    tables = [window.table(n) for window, n in zip(op.windows(spatial), spatial, strict=True)]
    channels = max(here.shape[0], rates.shape[1])
    upward = any(len(np.unique(row[row >= 0])) < np.count_nonzero(row >= 0) for table in tables for row in table)
    result = np.zeros((channels, prod(spatial)))
    for rate, taps in zip(rates, product(*(range(len(table)) for table in tables)), strict=True):
        rows = [table[tap] for table, tap in zip(tables, taps, strict=True)]
        passed = (here * rate)[across([row >= 0 for row in rows])]
        cells = np.ravel_multi_index(np.ix_(*(row[row >= 0] for row in rows)), spatial)
        if upward:  # one tap of several windows reads one cell
            for row, values in zip(result, passed.reshape(channels, -1), strict=True):
                np.add.at(row, cells.ravel(), values)
        else:
            result[:, cells.ravel()] += passed.reshape(channels, -1)
    return result.reshape(channels, *spatial)


def _maximum(
    op: Pooling,
    node: Node,
    spatial: Shape,
    maps: tuple[Maps, ...],
    local: Local,
    here: Array,
    above: Axes,
    below: Axes,
    rates: Array | None,
    known: Winners | None,
) -> Array:
    """The winner of each window gets its moment; two windows with one winner, and two winners, share theirs."""
    outputs = tuple(pairs.left for pairs in above)
    if rates is not None and known is not None:
        return to_pairs_of_winners(op, spatial, rates, known, here, (above, below))
    own = here[across([pairs.first == pairs.second for pairs in above])]
    sizes = window_sizes(op, spatial)
    if rates is None:
        alone = pull(op, ((own.shape[0], *spatial),), own * local.squared(node), (own.shape[0], *outputs))[0]
    else:
        alone = _to_winners(op, spatial, own, rates)
    # Of two windows, with `shared` cells in both and `union` cells together, one cell wins both with probability 1 / union
    # each; what is left of the probability goes evenly to the pairs of different winners.
    first, second = (outer([size[indices] for size, indices in zip(sizes, side, strict=True)]) for side in sides(above))
    inside = [axis[0][0].values > 0 for axis in maps]
    shared = outer([(a[pairs.first] & a[pairs.second]).sum(axis=1) for a, pairs in zip(inside, above, strict=True)])
    union, pairs_of_cells = first + second - shared, first * second
    apart = here * ~on_diagonal(above) * local.single(node) * pairs_of_cells  # the maps carry 1 / (cells of each window)
    on = on_diagonal(below)
    if rates is None:
        one = collect(maps, apart / union, above, below)
    else:
        tables = [window.table(n) for window, n in zip(op.windows(spatial), spatial, strict=True)]
        single = local.single(node)
        shared_wins = to_shared_winners(tables, spatial, rates, ratio(apart, union * single), above)
        one = np.where(on, at_first(shared_wins, below), 0.0)
    two = collect(maps, apart * (1 - shared / union) / np.maximum(pairs_of_cells - shared, 1), above, below)
    result = np.where(on, one, two)
    if len(result) < len(alone):
        result = np.repeat(result, len(alone), axis=0)
    same = [pairs.first == pairs.second for pairs in below]
    result[across(same)] += alone[across([pairs.first[on] for pairs, on in zip(below, same, strict=True)])]
    return np.asarray(result)

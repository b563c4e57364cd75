r"""The general law: K(u, u') = E[dy/dh_u dy/dh_u'], averaged over the outputs y, carried down layer by layer.

- fresh weights:    K(i, i') = V sum over taps k of K(j, j'),  where j and j' read i and i' through the SAME tap k;
                    of a filter over few channels, which moves the gates around it, through different taps too;
- a fixed map A:    K -> A' K A (averages, resizes, and every padding that copies cells);
- a sum:            K goes to every branch, and between two branches that meet again below without fresh weights;
- flatten + dense:  K becomes diagonal;
- a gate phi:       K(i, i') -> K(i, i') E[phi'(a_i) phi'(a_i')];
- a maximum:        K(j, j) goes to the cell that wins; where i wins two windows their gradients add, which happens with
                    probability 1 / (cells in both windows together) if all cells are alike.

Proposition 1 is the diagonal of this law. `landscape.structure.plan` says which other moments matter; where none does, this is
`lattice.pull_back`. Here stands the sweep; what each op passes, `landscape.laws.positions.through_ops` says.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from landscape.laws.positions.through_ops import Local, as_of_one, is_diagonal, is_linear_in_channels, through_step
from landscape.structure.arrays import check_room, diagonal_of, one_row
from landscape.structure.plan import Axes, Plan, State, Step, plan
from lattice import AssumptionError, Lattice, Node, Norm, ResourceError, UnsupportedError
from lattice.network.ops import Weighted
from lattice.sweep.reverse import accumulate

__all__ = ["checked_plan", "pull_moments", "sweep_moments"]

Array = np.ndarray[Any, Any]
MOST_BYTES = 2**33  # of all moments that wait for the layers below at one time
CANCELLED = 2.0**-40  # of a term of a sum: what is left of it then is rounding
TAME = (2.0**-300, 2.0**300)  # no rescaling between
ROUNDING = 1e-9  # of the largest entry: differences of branches cancel to this
LOWEST, SPREAD = -1022, 900  # exponents of the smallest normal float64, and of a map that may have lost its smallest entries


def pull_moments(lattice: Lattice, local: Local, cotangent: Array, *, copies_alike: bool = False) -> Array:
    """The diagonal of K at the input, (channels or 1, *spatial), from the diagonal `cotangent` at the output.

    Joint moments that have no rule, `Plan.copies`, are left out, or with `copies_alike` as large as they can be at all.
    `ResourceError` where the moments to carry would not fit into memory, or leave the range of float64.
    """
    _, moments, exponent = deque(_sweep(lattice, local, cotangent, copies_alike), maxlen=1)[0]
    mantissas = moments()
    if not mantissas.any() and any(step.side is not None for step in plan(lattice, local.filters).steps):
        raise AssumptionError(
            "branches of one signal that meet in a sum cancel, so that the squared gradient is exactly 0 (the average of a "
            "signal less its average, for example)"
        )
    _check_range(mantissas, exponent)
    return np.ldexp(np.maximum(mantissas, 0), exponent)


def sweep_moments(lattice: Lattice, local: Local, cotangent: Array) -> Iterator[tuple[Node, Array]]:
    """The same at the output of every node that the sweep comes by, from the output down to the input."""
    for node, moments, exponent in _sweep(lattice, local, cotangent):
        yield node, np.ldexp(moments(), exponent)


def _check_range(mantissas: Array, exponent: int) -> None:
    """No number of a result m 2^e may be lost: above the range of float64, below it, or beside the largest of its map."""
    positive = mantissas[mantissas > 0]
    if mantissas.min() < -ROUNDING * np.abs(mantissas).max():
        raise UnsupportedError(
            "the joint moments of gates or maxima on branches that meet again contradict each other (a squared gradient below "
            "zero); there is no rule for this network"
        )
    if not np.isfinite(mantissas).all():
        raise ResourceError("the expected squared gradient overflows float64; give smaller variances")
    if not positive.size:
        return
    highest, lowest = np.log2(positive.max()) + exponent, np.log2(positive.min()) + exponent
    if highest >= 1024:
        raise ResourceError(f"the expected squared gradient overflows float64: it is 2^{highest:.0f}; give smaller variances")
    if lowest < LOWEST or (len(positive) < mantissas.size and highest - lowest > SPREAD):
        raise ResourceError(
            f"the expected squared gradient underflows float64: it goes down to 2^{lowest:.0f} or below, and up to "
            f"2^{highest:.0f}; give larger variances, or fewer layers"
        )


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Moments m 2^e: one exponent for all that is carried in one state keeps the numbers within range.

    No mantissa is less than `least` or larger than `largest`; both are 0 only where all are. `levels`, (channels, 1, ...): by
    what the moments of each channel are yet to be multiplied, where one row stands for all, or a sum over channels follows.
    """

    mantissas: Array
    exponent: int
    least: float
    largest: float
    levels: Array | None = None

    @property
    def whole(self) -> Array:
        """The mantissas of every channel."""
        return self.mantissas if self.levels is None else self.levels * self.mantissas

    @property
    def is_zero(self) -> bool:
        return self.least == self.largest == 0

    @classmethod
    def of(cls, values: Array, exponent: int, levels: Array | None = None) -> "_Scaled":
        """The same with numbers near one, where they are far from it."""
        least, largest = float(values.min()), float(values.max())
        size = max(largest, -least)
        if np.isfinite(size) and size > 0 and not TAME[0] < size < TAME[1]:
            shift = int(np.log2(size))
            least, largest = (float(np.ldexp(bound, -shift)) for bound in (least, largest))
            return cls(np.ldexp(values, -shift), exponent + shift, least, largest, levels)
        return cls(values, exponent, least, largest, levels)

    def times(self, factors: Array) -> "_Scaled":
        """Every channel times a factor, (channels, 1, ...), none of them negative and not all of them zero."""
        shift = int(np.frexp(factors.max())[1])
        own = np.ldexp(factors, -shift)
        return replace(self, exponent=self.exponent + shift, levels=own if self.levels is None else self.levels * own)

    def mean_channel(self) -> Array:
        """The mantissas averaged over channels, (1, ...), where each channel has its own and a level."""
        assert self.levels is not None
        return np.einsum("c,c...->...", self.levels.ravel() / len(self.levels), self.mantissas)[None]

    def __add__(self, other: "_Scaled") -> "_Scaled":
        low, high = sorted((self, other), key=lambda one: one.exponent)
        apart = low.exponent - high.exponent
        one, two = high.whole, np.ldexp(low.whole, apart) if apart else low.whole
        total = one + two
        if high.least < 0 or low.least < 0:  # terms of one sign do not cancel
            total[(np.abs(total) <= CANCELLED * np.abs(two)) & np.isfinite(two)] = 0.0
            return _Scaled(total, high.exponent, float(total.min()), float(total.max()))
        most = [part.largest if part.levels is None else part.largest * float(part.levels.max()) for part in (high, low)]
        return _Scaled(total, high.exponent, 0.0, most[0] + float(np.ldexp(most[1], apart)))


def _sweep(
    lattice: Lattice, local: Local, cotangent: Array, copies_alike: bool = False
) -> Iterator[tuple[Node, Callable[[], Array], int]]:
    """(node, m, e) with m() 2^e the diagonal of K, from the output down: the steps of the plan, in its order."""
    planned = checked_plan(lattice, local.filters)
    steps = planned.onward
    held: dict[State, int] = {}

    def onward(state: State, here: _Scaled) -> Iterator[tuple[State, _Scaled]]:
        held.pop(state, None)
        for step in steps[state]:
            passed = _checked_pass(lattice, planned, local, step, here, copies_alike)
            held[step.target] = max(held.get(step.target, 0), passed.mantissas.nbytes)
            if sum(held.values()) > MOST_BYTES:
                raise ResourceError(
                    f"{lattice.nodes[step.node].name}: the moments between positions below it and beside it take more than "
                    f"{MOST_BYTES / 2**30:.0f} GiB; give a smaller input"
                )
            yield step.target, passed

    def diagonal(here: _Scaled, axes: Axes) -> Array:
        own = diagonal_of(here.mantissas, axes)
        return own if here.levels is None else here.levels * own

    local.begin()
    for state, here in accumulate((*steps, (0, 0)), _Scaled.of(cotangent, 0), onward):
        if state[0] == state[1]:
            node, own = lattice.nodes[state[0]], partial(diagonal, here, planned.carried[state])
            if local.follows(node):
                local.reached(node, own(), here.exponent)
            yield node, own, here.exponent


def checked_plan(lattice: Lattice, filters: frozenset[str] = frozenset()) -> Plan:
    """The plan of a sweep; refused where branches meet for which there is no rule, or where there is no room for it."""
    planned = plan(lattice, filters)
    if planned.unresolved:
        raise UnsupportedError(
            f"{', '.join(planned.unresolved)}: branches of one signal, without weights of their own between, meet there as "
            "different channels, in a product, or through a maximum; their joint moments have no rule here"
        )
    for (node, _), axes in planned.carried.items():
        try:
            check_room(1, axes)
        except ResourceError as refusal:
            raise ResourceError(f"{lattice.nodes[node].name}: {refusal}") from refusal
    return planned


def _checked_pass(lattice: Lattice, planned: Plan, local: Local, step: Step, here: _Scaled, copies_alike: bool) -> _Scaled:
    """`through_step` of channels that are alike one row, and levels; a refusal where there is no room says where."""
    below = planned.carried[step.target]
    if here.is_zero:
        return _Scaled(np.zeros((1, *map(len, below))), here.exponent, 0.0, 0.0)
    try:
        factors = _of_channels(lattice, planned, local, step, here)
        if factors is not None:
            return here.times(factors)
        values, levels = _apart(lattice, planned, local, step, here)
        passed = one_row(through_step(lattice, planned, local, step, values))
    except ResourceError as refusal:
        raise ResourceError(f"{lattice.nodes[step.node].name}: {refusal}") from refusal
    if copies_alike and step.side is None and step.node in planned.gathering:
        passed = as_of_one(lattice, step, passed, below)
    return _Scaled.of(passed, here.exponent, levels)


def _of_channels(lattice: Lattice, planned: Plan, local: Local, step: Step, here: _Scaled) -> Array | None:
    """The factors of a norm, (channels, 1, ...), where that is all it does to moments that each channel has of its own."""
    node, axes = lattice.nodes[step.node], planned.carried[step.source]
    if not isinstance(node.op, Norm) or node.op.kind not in ("batch", "scale") or len(here.mantissas) == 1:
        return None
    if step.side is not None or not is_diagonal(axes, planned.carried[step.target]):
        return None
    factors = local.squared(node, step.places[0])
    each = np.ndim(factors) > 0 and np.shape(factors) == (len(here.mantissas), *(1 for _ in axes))
    return factors if each and factors.any() else None


def _apart(lattice: Lattice, planned: Plan, local: Local, step: Step, here: _Scaled) -> tuple[Array, Array | None]:
    """The moments that go through a step, of every channel, or of all together beside the level that each has below it."""
    op, above = lattice.nodes[step.node].op, planned.carried[step.source]
    own, diagonal = None, step.side is None and is_diagonal(above, planned.carried[step.target])
    if diagonal and isinstance(op, Weighted) and getattr(op, "groups", 1) == 1 and here.levels is not None:
        return here.mean_channel(), None  # of which the layer sums as many as there are
    if step.side is None and not diagonal:
        own = local.levels(lattice.nodes[step.node], above, step.places[0])
        levels = own if here.levels is None else here.levels if own is None else here.levels * own
        if levels is not None and len(here.mantissas) == 1 and is_linear_in_channels(lattice, step):
            channels = lattice.shapes[step.target[0]][0]
            mean, groups = levels.mean(), channels if not isinstance(op, Weighted) else getattr(op, "groups", 1)
            sums = levels.reshape(groups, -1, *levels.shape[1:]).mean(axis=1) / mean
            return here.mantissas * mean, None if groups == 1 else np.repeat(sums, channels // groups, axis=0)
    if here.levels is not None:
        check_room(len(here.levels), above)
    return here.whole if own is None else here.whole * own, None

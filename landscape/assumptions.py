r"""Which law holds for a lattice, and how far: `Guarantee`, the reasons, and the checks that decide.

Proposition 1 sums over single paths, so it needs all cross terms between two paths to vanish. They can survive where

1. two outputs, averaged together above, read one cell through the same tap (overlapping pools, copying paddings);
2. two branches without fresh weights meet in a sum (`h + h`, a skip beside a pool);
3. gates at different positions, averaged together above, share a filter (ReLU under a pooled head);
4. a gate reads something that is not symmetric (ReLU after a residual sum), or a choice depends on the data (max-pool).

Cases 1 and 3 ask whether the second moment K(u, u') = E[dy/dh_u dy/dh_u'] of a layer is diagonal in position. From the
outputs down it stays so through fresh weights, and stops being so below an average.
"""

from collections.abc import Collection
from enum import IntEnum

import numpy as np

from landscape.gains import Sign, node_signs, slopes
from landscape.initialisation import weighted
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    AxisMap,
    Concat,
    Dense,
    GlobalPool,
    Lattice,
    Node,
    Pad,
    Pool,
    Upsample,
)
from lattice.ops import Windowed

__all__ = ["Guarantee", "assess"]


class Guarantee(IntEnum):
    """How far a predicted map can be trusted; the weakest of several holds.

    EXACT: equal to the expectation at any width, for weights that are independent, zero-mean and symmetric, and for any
    input without an all-zero patch. WIDE_LIMIT: up to O(1 / channels). APPROXIMATE: with the reasons that are given.
    """

    APPROXIMATE = 0
    WIDE_LIMIT = 1
    EXACT = 2


Finding = tuple[Guarantee, str]


def assess(
    lattice: Lattice, shifted: Collection[str] = (), measured: Collection[str] = ()
) -> tuple[Guarantee, tuple[str, ...]]:
    """The guarantee of Proposition 1 on this lattice, and the reasons why it is not better, each naming its layers.

    `shifted` names layers whose bias or shift is not zero on average, `measured` the ReLUs under max-pools whose win rates
    were counted.

    >>> from lattice import Conv, Flatten
    >>> relu = Activation("relu")
    >>> assess(Lattice.chain((1, 8), [Conv(4, 3), relu, Conv(4, 3), relu, Flatten(), Dense(1)]))
    (<Guarantee.EXACT: 2>, ())
    >>> guarantee, reasons = assess(Lattice.chain((1, 8), [Conv(4, 3), relu, GlobalPool(), Flatten(), Dense(1)]))
    >>> guarantee, reasons
    (<Guarantee.APPROXIMATE: 0>, ('relu under an average: gates at different positions share a filter (activation1)',))
    """
    findings: dict[Finding, list[str]] = {}
    signs = node_signs(lattice, shifted)
    correlated = _correlated(lattice)
    for position, node in enumerate(lattice.nodes):
        wins_known = bool(node.inputs) and lattice.nodes[node.inputs[0]].name in measured
        for finding in _findings(lattice, node, correlated[position], [signs[i] for i in node.inputs], wins_known):
            findings.setdefault(finding, []).append(node.name)
    for finding, name in _meetings(lattice):
        findings.setdefault(finding, []).append(name)
    guarantee = min((guarantee for guarantee, _ in findings), default=Guarantee.EXACT)
    return guarantee, tuple(f"{text} ({listed(names)})" for (_, text), names in sorted(findings.items(), key=lambda f: f[0][0]))


def listed(names: list[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _findings(lattice: Lattice, node: Node, correlated: bool, below: list[Sign], wins_known: bool) -> list[Finding]:
    """What weakens the guarantee at this node. `correlated`: is K off-diagonal at its output?"""
    op, found = node.op, []
    shapes = lattice.input_shapes(node)
    if isinstance(op, Windowed) and getattr(op, "kind", "") == "max":
        how = "counted on white noise" if wins_known else "taken as equally likely"
        found.append((Guarantee.APPROXIMATE, f"max-pool: which cell wins depends on the data, {how}"))
    if isinstance(op, Windowed) and correlated:
        axes = list(zip(op.windows(shapes[0][1:]), shapes[0][1:], strict=True))
        if isinstance(op, Pool | AdaptivePool | GlobalPool | Pad | Upsample):
            if any(_overlaps(window, n) for window, n in axes):
                found.append((Guarantee.APPROXIMATE, "windows that overlap under an average: paths that share all weights"))
        elif any(_shares_a_tap(window, n) for window, n in axes):
            found.append((Guarantee.APPROXIMATE, "a cell that padding copies, read twice through one tap under an average"))
    if isinstance(op, Activation) and len({abs(slope) for slope in slopes(op)}) > 1:
        found += _gate_findings(op, correlated, below[0])
    return found + _sum_findings(below) if isinstance(op, Add) else found


def _sum_findings(below: list[Sign]) -> list[Finding]:
    """A gated branch is not zero on average, so its product with another branch vanishes only if that one is."""
    gated = sum(sign in (Sign.NONNEGATIVE, Sign.SKEWED) for sign in below)
    if gated > 1 or (gated and Sign.DATA in below):
        return [(Guarantee.APPROXIMATE, "a gated branch added to another one that no fresh weight centres")]
    if gated and Sign.SUM in below:
        return [(Guarantee.WIDE_LIMIT, "a gated branch added to a sum of branches: their product vanishes in the wide limit")]
    return []


def _gate_findings(op: Activation, correlated: bool, sign: Sign) -> list[Finding]:
    if sign is Sign.NONNEGATIVE:
        return []  # the gate is open wherever the one below was
    found = []
    if correlated:
        found.append((Guarantee.APPROXIMATE, f"{op.name} under an average: gates at different positions share a filter"))
    if sign is Sign.SUM:
        found.append((Guarantee.WIDE_LIMIT, f"{op.name} of a sum of branches: open half of the time in the wide limit"))
    elif sign is Sign.SKEWED:
        text = f"{op.name} of values that are not symmetric (a skip, a max-pool, a shift below): not open half of the time"
        found.append((Guarantee.APPROXIMATE, text))
    elif sign is Sign.DATA:
        found.append((Guarantee.APPROXIMATE, f"{op.name} of the data itself: how often it is open depends on them"))
    return found


def _correlated(lattice: Lattice) -> list[bool]:
    """For each node: can K be off-diagonal in position at its output?"""
    result = [False] * len(lattice.nodes)
    for position in reversed(range(len(lattice.nodes))):
        node = lattice.nodes[position]
        if not node.inputs:
            break
        op, here = node.op, result[position]
        if isinstance(op, Dense):
            passed = False
        elif isinstance(op, Pool | AdaptivePool | GlobalPool) and op.kind == "avg":
            shape = lattice.input_shapes(node)[0]
            passed = here or any(w.taps(n) > 1 for w, n in zip(op.windows(shape[1:]), shape[1:], strict=True))
        elif isinstance(op, Upsample) and op.mode == "linear":
            passed = True
        else:
            passed = here
        for i in node.inputs:
            result[i] = result[i] or passed
    return result


def _overlaps(window: AxisMap, n: int) -> bool:
    """Is some cell read by two outputs?"""
    cells = window.table(n)
    readings = np.bincount(cells[cells >= 0], minlength=n)
    return bool((readings > 1).any())


def _shares_a_tap(window: AxisMap, n: int) -> bool:
    """Is some cell read by two outputs through the same tap?"""
    return any(np.bincount(row[row >= 0], minlength=n).max(initial=0) > 1 for row in window.table(n))


def _meetings(lattice: Lattice) -> list[tuple[Finding, str]]:
    """Sums where two paths from one node meet without a fresh weight on either.

    From every node that is read more than once, the number of weight-free paths to each node above it is carried up.
    """
    finding = (Guarantee.APPROXIMATE, "branches without weights of their own meet in a sum: they add before squaring")
    names: dict[str, None] = {}
    for fork, readers in enumerate(lattice.readers):
        if len(readers) < 2:
            continue
        paths = {fork: 1}
        for position in range(fork + 1, len(lattice.nodes)):
            node = lattice.nodes[position]
            if weighted(node.op):
                continue
            counts = [paths.get(i, 0) for i in node.inputs]
            # side by side in a concatenation, paths do not add
            paths[position] = max(counts) if isinstance(node.op, Concat) else sum(counts)
            if isinstance(node.op, Add) and paths[position] > max(counts):
                names[node.name] = None
    return [(finding, name) for name in names]

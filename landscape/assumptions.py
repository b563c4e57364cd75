r"""Which law holds for a lattice, and how far: `Guarantee`, the reasons, and the checks that decide.

Proposition 1 sums over single paths, so it needs all cross terms between two paths to vanish. They can survive where

1. two outputs, averaged together above, read one cell through the same tap (overlapping pools, copying paddings), or two
   branches without fresh weights meet in a sum (`h + h`, a skip beside a pool): `landscape.covariance` carries these terms,
   exactly, unless gates stand among them;
2. gates at different positions, averaged together above, share a filter (ReLU under a pooled head);
3. a gate reads something that is not symmetric (ReLU after a residual sum), its slope depends on how large that is (SiLU),
   or a choice depends on the data (max-pool).

Case 2 asks whether K(u, u') = E[dy/dh_u dy/dh_u'] is diagonal in position. From the outputs down it stays so through
fresh weights, and stops being so below an average.
"""

from collections.abc import Collection
from enum import IntEnum

import lattice.ops
from landscape.gains import SIGNAL_NORMS, Sign, has_slopes, node_signs, slopes
from landscape.gates import Gates
from landscape.plan import plan
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    Dense,
    GlobalPool,
    Lattice,
    Node,
    Norm,
    Pool,
    Upsample,
)
from lattice.lattice import check_lattice
from lattice.ops import Windowed

Multiply = getattr(lattice.ops, "Multiply", type(None))

__all__ = ["Guarantee", "assess"]


class Guarantee(IntEnum):
    """How far a predicted map can be trusted; the weakest of several holds.

    EXACT: equal to the expectation at any width, for weights that are independent, zero-mean and symmetric, and for any
    input without an all-zero patch, given V[w]: where that is an estimate, `Landscape.scale_error` says how good a one.
    WIDE_LIMIT: up to O(1 / channels). APPROXIMATE: with the reasons that are given.
    """

    APPROXIMATE = 0
    WIDE_LIMIT = 1
    EXACT = 2


Finding = tuple[Guarantee, str]


def assess(lattice: Lattice, shifted: Collection[str] = (), gates: Gates | None = None) -> tuple[Guarantee, tuple[str, ...]]:
    """The guarantee of the law on this lattice, and the reasons why it is not better, each naming its layers.

    `shifted` names layers whose bias or shift is not zero on average, `gates` what is known of gates and choices.

    >>> from lattice import Conv, Flatten
    >>> relu = Activation("relu")
    >>> assess(Lattice.chain((1, 8), [Conv(4, 3), relu, Conv(4, 3), relu, Flatten(), Dense(1)]))
    (<Guarantee.EXACT: 2>, ())
    >>> guarantee, reasons = assess(Lattice.chain((1, 8), [Conv(4, 3), relu, GlobalPool(), Flatten(), Dense(1)]))
    >>> guarantee, reasons
    (<Guarantee.APPROXIMATE: 0>, ('relu under an average: gates at different positions share a filter (activation1)',))
    """
    check_lattice(lattice, "assess")
    findings: dict[Finding, list[str]] = {}
    signs = node_signs(lattice, shifted)
    correlated = _correlated(lattice)
    for position, node in enumerate(lattice.nodes):
        for finding in _findings(node, correlated[position], [signs[i] for i in node.inputs], gates or Gates()):
            findings.setdefault(finding, []).append(node.name)
    for finding, name in _meetings(lattice):
        findings.setdefault(finding, []).append(name)
    guarantee = min((guarantee for guarantee, _ in findings), default=Guarantee.EXACT)
    return guarantee, tuple(f"{text} ({listed(names)})" for (_, text), names in sorted(findings.items(), key=lambda f: f[0][0]))


def listed(names: list[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _findings(node: Node, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    """What weakens the guarantee at this node. `correlated`: can K be off-diagonal at its output?"""
    op = node.op
    if isinstance(op, Windowed) and getattr(op, "kind", "") == "max":
        how = gates.ground if node.name in gates.taps else "taken as equally likely"
        return [(Guarantee.APPROXIMATE, f"max-pool: which cell wins depends on the data, {how}")]
    if isinstance(op, Activation) and (not has_slopes(op) or len(set(slopes(op))) > 1):
        return _gate_findings(node.name, op, correlated, below[0], gates)
    if isinstance(op, Multiply):
        return [(Guarantee.APPROXIMATE, f"a product with a gate: its size depends on the data, {gates.ground}")]
    if isinstance(op, Norm) and op.kind in SIGNAL_NORMS:
        return [(Guarantee.APPROXIMATE, f"{op.kind} norm: divides by the variance of the signal, {gates.ground}")]
    return _sum_findings(below) if isinstance(op, Add) else []


def _sum_findings(below: list[Sign]) -> list[Finding]:
    """A gated branch is not zero on average, so its product with another branch vanishes only if that one is."""
    gated = sum(sign in (Sign.NONNEGATIVE, Sign.SKEWED) for sign in below)
    if gated > 1 or (gated and Sign.DATA in below):
        return [(Guarantee.APPROXIMATE, "a gated branch added to another one that no fresh weight centres")]
    if gated and Sign.SUM in below:
        return [(Guarantee.WIDE_LIMIT, "a gated branch added to a sum of branches: their product vanishes in the wide limit")]
    return []


def _gate_findings(name: str, op: Activation, correlated: bool, sign: Sign, gates: Gates) -> list[Finding]:
    if sign is Sign.NONNEGATIVE and has_slopes(op):
        return []  # the gate is open wherever the one below was
    found = []
    counted = f"; {gates.ground}" if name in gates.gains else ""
    if not has_slopes(op):
        text = f"{op.name}: its slope depends on how large the signal is{counted}"
        found.append((Guarantee.APPROXIMATE, text))
    if correlated:
        found.append((Guarantee.APPROXIMATE, f"{op.name} under an average: gates at different positions share a filter"))
    if has_slopes(op) and len({abs(slope) for slope in slopes(op)}) == 1:
        return found  # whatever the sign, the slope's square is the same
    if sign is Sign.SUM:
        found.append((Guarantee.WIDE_LIMIT, f"{op.name} of a sum of branches: open half of the time in the wide limit"))
    elif sign is Sign.SKEWED:
        text = f"{op.name} of values that are not symmetric (a skip, a max-pool, a shift below): not open half of the time"
        found.append((Guarantee.APPROXIMATE, text + counted))
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
        elif isinstance(op, Blur) or (isinstance(op, Upsample) and op.mode == "linear"):
            passed = True
        else:
            passed = here
        for i in node.inputs:
            result[i] = result[i] or passed
    return result


def _meetings(lattice: Lattice) -> list[tuple[Finding, str]]:
    """Gates, and ops without a rule, between a sum and the node where its branches meet again without fresh weights."""
    planned = plan(lattice)
    gated = (Guarantee.APPROXIMATE, "a gate on a branch that meets another one without fresh weights: taken as independent")
    unknown = (Guarantee.APPROXIMATE, "branches without weights of their own meet through it: they add before squaring")
    names: dict[str, None] = {}
    for step in planned.steps:
        op = lattice.nodes[step.node].op
        nonlinear = isinstance(op, Activation) or getattr(op, "kind", "") == "max"
        if step.side is not None and nonlinear:
            names[lattice.nodes[step.node].name] = None
    return [*((gated, name) for name in names), *((unknown, name) for name in planned.unresolved)]

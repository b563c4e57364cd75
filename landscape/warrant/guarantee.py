r"""Which law holds for a lattice, and how far: `Guarantee`, the reasons, and the checks that decide.

Proposition 1 sums over single paths, so it needs all cross terms between two paths to vanish. They can survive where

1. two outputs, averaged together above, read one cell through the same tap (overlapping pools, copying paddings), or two
   branches without fresh weights meet in a sum (`h + h`, a skip beside a pool): `landscape.laws.positions.sweep` carries these
   terms, exactly, unless gates stand among them;
2. gates at different positions, averaged together above, share a filter (ReLU under a pooled head);
3. a gate reads something that is not symmetric (ReLU after a residual sum), its slope depends on how large that is (SiLU),
   or a choice depends on the data (max-pool).

Case 2 asks whether K(u, u') = E[dy/dh_u dy/dh_u'] is diagonal in position. From the outputs down it stays so through
fresh weights, and stops being so below an average.
"""

from collections.abc import Collection, Mapping
from enum import IntEnum
from functools import singledispatch
from typing import Any

from landscape.prior import Gates, Prior
from landscape.structure.correlated_positions import correlated_positions, reads_several
from landscape.structure.signs import NEGATED, SIGNAL_NORMS, Sign, has_slopes, slopes
from lattice import (
    Activation,
    Add,
    Blur,
    Concat,
    Dropout,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Op,
    Pad,
    UnsupportedError,
    Upsample,
)
from lattice.errors import listed
from lattice.network.attention import Attention
from lattice.network.lattice import check_lattice
from lattice.network.ops import Pooling, Rearrangement, Shape, Weighted
from lattice.network.rearrange import Resample

__all__ = ["Guarantee", "assess", "warrant"]


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


def assess(
    lattice: Lattice,
    shifted: Collection[str] = (),
    gates: Gates | None = None,
    signs: Mapping[str, Any] | None = None,
) -> tuple[Guarantee, tuple[str, ...]]:
    """The guarantee of the law on this lattice, and the reasons why it is not better, each naming its layers.

    Parameters
    ----------
    lattice : Lattice
        The network.
    shifted : collection of str, default ()
        Layers whose bias or shift is not zero on average.
    gates : Gates or None, default None
        What is known of gates and choices.
    signs : mapping or None, default None
        The sign of each norm's factor where it is negative anywhere, -1 or one per channel.

    Returns
    -------
    guarantee : Guarantee
        EXACT, WIDE_LIMIT or APPROXIMATE.
    reasons : tuple of str
        What weakens it; empty where it is EXACT.

    Examples
    --------
    >>> from lattice import Conv, Dense, Flatten, GlobalPool
    >>> relu = Activation("relu")
    >>> assess(
    ...     Lattice.chain((1, 8), [Conv(4, 3), relu, Conv(4, 3), relu, Flatten(), Dense(1)])
    ... )
    (<Guarantee.EXACT: 2>, ())
    >>> guarantee, reasons = assess(
    ...     Lattice.chain((1, 8), [Conv(4, 3), relu, GlobalPool(), Flatten(), Dense(1)])
    ... )
    >>> guarantee, reasons
    (<Guarantee.APPROXIMATE: 0>, ('relu under an average: gates at different positions share a filter (activation1)',))
    """
    check_lattice(lattice, "assess")
    return warrant(Prior(lattice, {}, shifted=shifted, gates=gates or Gates(), signs=signs or {}))


def warrant(prior: Prior) -> tuple[Guarantee, tuple[str, ...]]:
    """The guarantee and the reasons of `assess`, for a network and its law in one value.

    >>> from lattice import Conv
    >>> warrant(Prior(Lattice.chain((1, 8), [Conv(4, 3)]), {"conv1": 1.0}))
    (<Guarantee.EXACT: 2>, ())
    """
    lattice, findings = prior.lattice, dict[Finding, list[str]]()
    correlated = correlated_positions(lattice)
    for position, node in enumerate(lattice.nodes):
        spatial = lattice.input_shapes(node)[0][1:] if node.inputs else ()
        below = [prior.node_signs[i] for i in node.inputs]
        for finding in _findings(node.op, node, spatial, correlated[position], below, prior.gates):
            findings.setdefault(finding, []).append(node.name)
        if not isinstance(node.op, Pooling):
            for text in prior.gates.notes.get(node.name, ()):
                findings.setdefault((Guarantee.APPROXIMATE, text), []).append(node.name)
    for finding, name in _meetings(prior):
        findings.setdefault(finding, []).append(name)
    guarantee = min((guarantee for guarantee, _ in findings), default=Guarantee.EXACT)
    return guarantee, tuple(f"{text} ({listed(names)})" for (_, text), names in sorted(findings.items(), key=lambda f: f[0][0]))


@singledispatch
def _findings(op: Op, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    """What weakens the guarantee at a node. `correlated`: can K be off-diagonal at its output?"""
    raise UnsupportedError(
        f"{node.name}: no rule says if Proposition 1 holds for {op!r}; add one with "
        "landscape.warrant.guarantee._findings.register"
    )


@_findings.register(Blur)
@_findings.register(Concat)
@_findings.register(Dropout)
@_findings.register(Input)
@_findings.register(Pad)
@_findings.register(Rearrangement)
@_findings.register(Resample)
@_findings.register(Upsample)
@_findings.register(Weighted)
def _(op: Op, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    return []  # linear, with fixed coefficients or with fresh weights


@_findings.register
def _(op: Pooling, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    if op.kind != "max" or not reads_several(op, spatial):
        return []
    how = gates.source if node.name in gates.taps else "taken as equally likely"
    found = f"which cell wins depends on the data, {how}"
    return [(Guarantee.APPROXIMATE, f"max-pool: {text}") for text in (found, *gates.notes.get(node.name, ()))]


@_findings.register
def _(op: Activation, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    if has_slopes(op) and len(set(slopes(op))) == 1:
        return []
    return _gate_findings(node.name, op, correlated, below[0], gates)


@_findings.register
def _(op: Multiply, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    text = f"a product of two signals: the size of each factor depends on the data, {gates.source}"
    return [(Guarantee.APPROXIMATE, text)]


@_findings.register
def _(op: Attention, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    known = gates.logits.get(node.name)
    if known is None:
        text = "attention: a fixed mixing of positions, as for logits without variance, and no paths through queries and keys"
        return [(Guarantee.APPROXIMATE, text)]
    size = f"{float(known.variance.max()):.1g}"
    text = f"attention: its logits to second order; their variance is {size} at most, from the forward mean field"
    return [(Guarantee.APPROXIMATE, text)]


@_findings.register
def _(op: Norm, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    if op.kind not in SIGNAL_NORMS:
        return []
    return [(Guarantee.APPROXIMATE, f"{op.kind} norm: divides by the variance of the signal, {gates.source}")]


@_findings.register
def _(op: Add, node: Node, spatial: Shape, correlated: bool, below: list[Sign], gates: Gates) -> list[Finding]:
    return _sum_findings(below)


def _sum_findings(below: list[Sign]) -> list[Finding]:
    """A gated branch is not zero on average, so its product with another branch vanishes only if that one is."""
    gated = sum(sign in (*NEGATED, Sign.SKEWED) for sign in below)
    if gated > 1 or (gated and Sign.DATA in below):
        return [(Guarantee.APPROXIMATE, "a gated branch added to another one that no fresh weight centres")]
    if gated and Sign.SUM in below:
        return [(Guarantee.WIDE_LIMIT, "a gated branch added to a sum of branches: their product vanishes in the wide limit")]
    return []


def _gate_findings(name: str, op: Activation, correlated: bool, sign: Sign, gates: Gates) -> list[Finding]:
    if sign in NEGATED and has_slopes(op):
        return []  # the gate is open wherever the one below was, or closed
    findings = []
    counted = f"; {gates.source}" if name in gates.gains else ""
    if not has_slopes(op):
        text = f"{op.name}: its slope depends on how large the signal is{counted}"
        findings.append((Guarantee.APPROXIMATE, text))
    if correlated:
        findings.append((Guarantee.APPROXIMATE, f"{op.name} under an average: gates at different positions share a filter"))
    if has_slopes(op) and len({abs(slope) for slope in slopes(op)}) == 1:
        return findings  # whatever the sign, the slope's square is the same
    if sign is Sign.SUM:
        findings.append((Guarantee.WIDE_LIMIT, f"{op.name} of a sum of branches: open half of the time in the wide limit"))
    elif sign is Sign.SKEWED:
        text = f"{op.name} of values that are not symmetric (a skip, a max-pool, a shift below): not open half of the time"
        findings.append((Guarantee.APPROXIMATE, text + counted))
    elif sign is Sign.DATA:
        findings.append((Guarantee.APPROXIMATE, f"{op.name} of the data itself: how often it is open depends on them"))
    return findings


def _meetings(prior: Prior) -> list[tuple[Finding, str]]:
    """Gates between a sum and the node where its branches meet again without fresh weights."""
    lattice = prior.lattice
    gated = (Guarantee.APPROXIMATE, "a gate on a branch that meets another one without fresh weights: taken as independent")
    names: dict[str, None] = {}
    for step in prior.plan.steps:
        op = lattice.nodes[step.node].op
        nonlinear = isinstance(op, Activation | Multiply) or (isinstance(op, Pooling) and op.kind == "max")
        if step.side is not None and nonlinear:
            names[lattice.nodes[step.node].name] = None
    return [(gated, name) for name in names]

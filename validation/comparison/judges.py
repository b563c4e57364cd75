r"""Three judges of a predicted map, for tests of one's own rules: exact, chi-square, Monte Carlo. They raise, or are silent.

Tier 0, `assert_exact`: equality with the enumeration of every +-1 weight pattern of a tiny net; no false alarms.
Tier 1, `assert_chi_square`: the exact law of one linear layer with normal weights, per pixel.
Tier 2, `assert_agrees`: Monte Carlo, with the false-alarm rate that is asked for; draws are fixed before looking.

A judge is worth what its negative controls show: `negative_controls` gives maps with one planted mistake each, and a test
that cannot tell them from the measurement has too few draws.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from landscape import squared_gradients
from landscape.input_checks import either_spelling
from landscape.weights.initialisation import Initialisation, layer_variances
from lattice import Add, Conv, Lattice, Node, SpecificationError
from lattice.checks import is_real
from lattice.network.lattice import check_lattice
from lattice.sweep.choices import identity_branches
from validation.comparison.compare import Agreement, Verdict, checked_comparison, compare
from validation.montecarlo.enumerate import enumerated_squared_gradients
from validation.montecarlo.measure import Estimate

__all__ = ["assert_agrees", "assert_chi_square", "assert_exact", "negative_controls"]

Array = np.ndarray[Any, Any]
FALSE_ALARM = 1e-6


@either_spelling
def assert_exact(
    lattice: Lattice,
    predicted: Array,
    initialisation: Initialisation | Mapping[str, float] | float = 1.0,
    inputs: Array | None = None,
    *,
    rtol: float = 1e-12,
) -> None:
    """Raise `AssertionError` unless the map equals the mean over every +-1 weight pattern (tier 0; no false alarms).

    Parameters
    ----------
    lattice : Lattice
        A network of at most 22 weights.
    predicted : ndarray
        Map of expected squared gradients over input positions.
    initialisation : callable, mapping of str to float, or float, default 1.0
        V[w]: a scheme, one number for all layers, or one per layer name.
    inputs : ndarray or None, default None
        Images (N, channels, *spatial) to average over; None is one input without special values.
    rtol : float, default 1e-12
        Tolerance, relative to the largest entry of the true map.

    Raises
    ------
    AssertionError
        If the maps differ; the message names the worst pixel.
    SpecificationError
        If the shapes differ.

    Examples
    --------
    >>> from lattice import Dense, Flatten
    >>> assert_exact(
    ...     Lattice.chain((1, 3), [Conv(1, 3, padding=1), Flatten(), Dense(1)]),
    ...     np.array([2.0, 3.0, 2.0]),
    ... )
    """
    truth = enumerated_squared_gradients(lattice, inputs, initialisation)
    predicted = np.asarray(predicted, dtype=float)
    if predicted.shape != truth.shape:
        raise SpecificationError(f"the predicted map has shape {predicted.shape}, the network's input {truth.shape}")
    error = np.abs(predicted - truth)
    if not (error <= rtol * truth.max()).all():
        worst = np.unravel_index(int(np.argmax(error)), error.shape)  # NaN counts as the largest
        raise AssertionError(
            f"the prediction is not the enumerated expectation: at {tuple(map(int, worst))} it is {predicted[worst]!r}, "
            f"the truth {truth[worst]!r}; largest relative error {error.max() / truth.max():.3g}"
        )


def assert_chi_square(predicted: Array, estimate: Estimate, channels: int = 1, *, false_alarm: float = FALSE_ALARM) -> None:
    """Raise `AssertionError` unless draws x measured / predicted is chi-square with draws x channels degrees (tier 1).

    For a lattice with ONE layer with weights and no gates, weights normal, one input per draw: each input gradient is a
    signed sum of different weights, so normal with the predicted variance, independent over draws and the `channels` of
    the input. With n draws an error of about 7 sqrt(2 / (n channels)) is seen (8 % at 15,000 draws).

    Parameters
    ----------
    predicted : ndarray
        Map of expected squared gradients over input positions.
    estimate : Estimate
        What `measure` returned.
    channels : int, default 1
        Channels of the input.
    false_alarm : float
        Probability that a true prediction fails, two-sided at every pixel, Bonferroni over pixels.

    Raises
    ------
    AssertionError
        If the law is refuted, or a pixel that no path reaches has a gradient.

    Examples
    --------
    >>> from landscape import predict
    >>> from validation import measure
    >>> net = Lattice.chain((1, 6), [Conv(2, 3, padding=1)])
    >>> assert_chi_square(predict(net).squared, measure(net, draws=200))
    """
    predicted = checked_comparison(predicted, estimate)
    _check_rate(false_alarm)
    reached = predicted > 0
    if (estimate.mean[~reached] != 0).any():
        raise AssertionError("a pixel that no path reaches has a gradient")
    degrees = estimate.draws * channels
    law = stats.chi2(degrees)
    ratio = degrees * estimate.mean[reached] / predicted[reached]
    tails = 2 * np.minimum(law.cdf(ratio), law.sf(ratio)) * reached.sum()
    if not tails.min() > false_alarm:
        worst = int(tails.argmin())
        raise AssertionError(
            f"measured / predicted is {ratio[worst] / degrees:.4g} at a pixel after {estimate.draws} draws; under the "
            f"chi-square law that has probability {tails[worst]:.2g} over all pixels (limit {false_alarm:g})"
        )


def assert_agrees(
    predicted: Any, estimate: Estimate, *, tolerance: float, scale: bool = True, false_alarm: float = FALSE_ALARM
) -> Agreement:
    """Raise `AssertionError` where Monte Carlo refutes the map (tier 2).

    Refuted: the confidence interval of the map error, at 1 - `false_alarm`, lies above `tolerance`; or, with `scale`, the
    confidence interval of measured / predicted scale excludes 1.

    Parameters
    ----------
    predicted : Landscape or ndarray
        A prediction, or a map of expected squared gradients.
    estimate : Estimate
        What `measure` returned.
    tolerance : float
        The relative error of the map that is tolerated.
    scale : bool, default True
        Whether the scale is judged too.
    false_alarm : float
        Probability that a true prediction fails.

    Returns
    -------
    Agreement
        The comparison, where it is not refuted.

    Raises
    ------
    AssertionError
        If the map or its scale is refuted.

    Examples
    --------
    >>> from landscape import predict
    >>> from validation import measure
    >>> net = Lattice.chain((1, 6), [Conv(2, 3, padding=1), Conv(2, 3)])
    >>> assert_agrees(predict(net), measure(net, draws=400), tolerance=0.1).unreachable
    0
    """
    _check_rate(false_alarm)
    agreement = compare(predicted, estimate, tolerance=tolerance, confidence=1 - false_alarm)
    if agreement.verdict is Verdict.DISAGREE:
        raise AssertionError(str(agreement))
    if scale and agreement.scale_is_off:
        raise AssertionError(f"the scale is off\n{agreement}")
    return agreement


def _check_rate(false_alarm: float) -> None:
    if not is_real(false_alarm) or not 0 < false_alarm < 1:
        raise SpecificationError(f"false_alarm is {false_alarm!r}; it is a probability between 0 and 1, for example 1e-6")


@either_spelling
def negative_controls(lattice: Lattice, initialisation: Initialisation | Mapping[str, float] | float = 1.0) -> dict[str, Array]:
    """One map of Proposition 1 for each planted mistake: what a judge must refuse.

    "variance": every V[w] times 1.1; "padding NAME": a padding moved by one cell to the other side; "skip NAME": an
    identity branch dropped.

    Parameters
    ----------
    lattice : Lattice
        The network.
    initialisation : callable, mapping of str to float, or float, default 1.0
        V[w]: a scheme, one number for all layers, or one per layer name.

    Returns
    -------
    dict of str to ndarray of float64
        Wrong maps over input positions, by mistake.

    Raises
    ------
    SpecificationError
        If the lattice has no weights, so that there is nothing to plant a mistake in.

    Examples
    --------
    >>> from lattice import residual
    >>> net = Lattice.chain((1, 8), [Conv(1, 3), residual([Conv(1, 3, padding=1)])])
    >>> list(negative_controls(net))
    ['variance', 'padding conv2', 'skip add1']
    """
    check_lattice(lattice, "negative_controls")
    variances = layer_variances(lattice, initialisation)
    if not variances:
        raise SpecificationError("the lattice has no weights: there is nothing that a wrong variance would change")
    wrong = {"variance": squared_gradients(lattice, {name: 1.1 * value for name, value in variances.items()})}
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Conv):
            moved = _padding_moved(lattice, node)
            if moved is not None:
                nodes = tuple(moved if other is node else other for other in lattice.nodes)
                wrong[f"padding {node.name}"] = squared_gradients(Lattice(nodes), variances)
        elif isinstance(node.op, Add) and (skips := identity_branches(lattice, position)):
            wrong[f"skip {node.name}"] = squared_gradients(_without(lattice, position, skips[0]), variances)
    return wrong


def _padding_moved(lattice: Lattice, node: Node) -> Node | None:
    """The node with one cell of its first axis' padding on the other side, or None where it has none."""
    assert isinstance(node.op, Conv)
    pads = [window.padding for window in node.op.windows(lattice.input_shapes(node)[0][1:])]  # type: ignore[attr-defined]
    lo, hi = pads[0]
    if lo + hi == 0:
        return None
    pads[0] = (lo - 1, hi + 1) if lo else (lo + 1, hi - 1)
    return Node(node.name, replace(node.op, padding=tuple(pads)), node.inputs)


def _without(lattice: Lattice, position: int, branch: int) -> Lattice:
    """The lattice with one branch of a sum of two taken out: the sum's readers read the other branch."""
    kept = lattice.nodes[position].inputs[1 - branch]
    nodes = []
    for place, node in enumerate(lattice.nodes):
        if place != position:
            inputs = (kept if i == position else i for i in node.inputs)
            nodes.append(Node(node.name, node.op, tuple(i - (i > position) for i in inputs)))
    return Lattice(tuple(nodes))

"""The stages of a prediction: a request is checked, a network is read, its gates are filled in, a law makes the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from landscape.gates.forward.logits import logits
from landscape.gates.forward.mean_field import signals
from landscape.gates.gate_rates import theory_gates
from landscape.gates.gates import pooled_gates
from landscape.gates.parallel_gates import parallel_gates, scaled_copies
from landscape.gates.windows.united import united
from landscape.input_checks import checked_images
from landscape.laws.batchnorm import dropout_gains, train_factors, train_reasons
from landscape.laws.infinite_width import fits, given_input_moments, refusals
from landscape.laws.moments import squares_and_rest
from landscape.laws.norm_gradient import kept_by_norms
from landscape.laws.pooled_head import head_correction
from landscape.laws.positions.sweep import checked_plan
from landscape.structure.signs import is_batch_norm
from landscape.tracing.trace import Trace, trace
from landscape.warrant.centred_gates import centred_gates
from landscape.warrant.guarantee import Guarantee, warrant
from landscape.warrant.nested_products import MOST_GROWTH, growth_of_products
from landscape.warrant.saturated_winners import lost_by_saturated_winners
from landscape.weights.initialisation import Initialisation, he, layer_variances
from lattice import (
    AdaptivePool,
    AssumptionError,
    GlobalPool,
    Lattice,
    Norm,
    Pool,
    ResourceError,
    SpecificationError,
    UnsupportedError,
)
from lattice.checks import given_shape
from lattice.errors import listed

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["Outcome", "Request", "apply_law", "complete", "fill_gates", "path_law", "read"]

Array = np.ndarray[Any, Any]
MOST_LOST = 2.5  # of the logarithm of what winners pass
MODES, GATES = ("eval", "train"), (None, "measured", "theory")


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of `landscape.predict`, beside the network: its arguments by their names, checked."""

    shape: tuple[int, ...] | None = None
    initialisation: Initialisation | Mapping[str, float] | float | str | None = None
    output: Any = None
    mode: str = "eval"
    gates: str | None = None
    inputs: Any = None
    batch: int = 32
    factors: Mapping[str, Any] | None = None
    check: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SpecificationError(f"mode is {self.mode!r}; it is 'eval' or 'train'")
        if self.mode == "train" and self.inputs is not None:
            raise UnsupportedError(
                "mode='train' with inputs=: batch statistics of given images have no law here; give one of them"
            )
        if self.gates not in GATES:
            raise SpecificationError(f"gates is {self.gates!r}; it is 'theory', 'measured', or None")

    @property
    def train(self) -> bool:
        """Is it about training mode?"""
        return self.mode == "train"

    @property
    def counted(self) -> bool:
        """Are gates to be counted in forward passes? Where nothing else is asked for, on given inputs alone."""
        return self.gates == "measured" or (self.gates is None and self.inputs is not None)


class Outcome(NamedTuple):
    """A map, how far it can be trusted and why not further, and what it was made from.

    `pooled`: was the second path law under a pooled head asked for too?
    """

    squared: Array
    guarantee: Guarantee
    reasons: tuple[str, ...]
    traced: Trace
    pooled: bool


# --- the network ----------------------------------------------------------------------------------------------------------


def read(model: torch.nn.Module | Callable[[], torch.nn.Module] | Lattice | str, request: Request) -> tuple[Trace, Request]:
    """The network with what its weights say, and the request with its `inputs` checked against the shape."""
    if isinstance(model, Lattice):
        if request.shape is not None and tuple(request.shape) != model.input_shape:
            raise SpecificationError(
                f"the lattice has input shape {model.input_shape}, and shape={tuple(request.shape)} was given"
            )
        request = _with_checked_inputs(request, model.input_shape)
        variances = layer_variances(model, he if request.initialisation is None else request.initialisation)
        return Trace(model, variances, _checked_factors(model, request.factors or {}), unit=request.output), request
    if request.shape is None:
        raise SpecificationError("predict(model, shape) needs the shape of one input, (channels, *spatial)")
    shape = given_shape(request.shape)
    request = _with_checked_inputs(request, shape)
    counted = request.counted and not request.train
    observed = None if not counted else "noise" if request.inputs is None else request.inputs
    options = {"output": request.output, "train": request.train, "check": request.check}
    return trace(model, shape, initialisation=request.initialisation, inputs=observed, **options), request


def complete(
    model: torch.nn.Module | Callable[[], torch.nn.Module] | Lattice | str, request: Request
) -> tuple[Trace, Request, tuple[str, ...]]:
    """The network with the rates of its gates, the request as it was met, and what is to be said of both.

    Rates that theory has no rule for are counted in forward passes of the model, unless it was asked for by name.
    """
    traced, request = read(model, request)
    if request.inputs is None and not request.train:  # what no rates of gates change is said before they are found
        checked_plan(traced.lattice if request.counted else united(traced).lattice)
    try:
        filled, said = fill_gates(traced, request)
        return filled, request, said
    except UnsupportedError as refusal:
        if request.gates is not None or request.counted or request.train or isinstance(model, Lattice):
            raise
        why = f"gates and choices were counted in forward passes, for want of a rule: {refusal}"
    traced, request = read(model, replace(request, gates="measured"))
    traced, said = fill_gates(traced, request)
    return traced, request, (why, *said)


def _with_checked_inputs(request: Request, shape: tuple[int, ...]) -> Request:
    return request if request.inputs is None else replace(request, inputs=checked_images(request.inputs, shape))


def _checked_factors(lattice: Lattice, factors: Mapping[str, Any]) -> dict[str, Any]:
    """Squared factors of norms by name: a finite number that is not negative, or one per channel or per unit."""
    norms = {node.name: shape for node, shape in zip(lattice.nodes, lattice.shapes, strict=True) if isinstance(node.op, Norm)}
    for name, factor in factors.items():
        if name not in norms:
            raise SpecificationError(f"factors names {name!r}; the norms of this lattice are {', '.join(norms) or 'none'}")
        values = np.asarray(factor)
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values < 0).any():
            raise SpecificationError(f"{name}: its factor is {factor!r}; gamma^2 / sigma^2 is finite and not negative")
        if values.shape not in ((), norms[name][:1], norms[name]):
            raise SpecificationError(f"{name}: factors of shape {values.shape} for {norms[name]}; one, or one per channel")
    return dict(factors)


# --- its gates ------------------------------------------------------------------------------------------------------------


def fill_gates(traced: Trace, request: Request) -> tuple[Trace, tuple[str, ...]]:
    """The network with the rates of its gates and norms, and what is to be said of the norms' own gradients."""
    counted = traced.gates.gains or traced.gates.taps or traced.gates.products
    if not request.counted or not counted:
        traced = _with_theory(traced, request)
    if varying := logits(traced):
        traced = traced.with_gates(logits=varying)
    return _with_gradients_of_norms(traced, request.counted and request.inputs is not None)


def _with_theory(traced: Trace, request: Request) -> Trace:
    """Gates from the forward mean field; in train mode with the corrected Lemma 2's factors and dropout's gains."""
    gates = theory_gates(traced, request.train)
    if not request.train:
        return replace(traced, gates=gates)
    gates = replace(gates, gains={**gates.gains, **dropout_gains(traced.lattice)})
    return replace(traced, gates=gates, factors=train_factors(traced, request.batch))


def _with_gradients_of_norms(traced: Trace, given: bool) -> tuple[Trace, tuple[str, ...]]:
    """What norms over the signal leave of the gradient beside their factor, and in words how little that is."""
    kept = kept_by_norms(traced, given, traced.of_signs)
    if not kept:
        return traced, ()
    largest = max(float(np.max(np.abs(factor - 1))) for factor in kept.values())
    reason = f"norms over the signal: their own gradient changes theirs by {largest:.0%} at most, as for Gaussian values"
    return traced.with_gates(kept=kept), (f"{reason} ({listed(list(kept))})",)


# --- the law --------------------------------------------------------------------------------------------------------------


def apply_law(traced: Trace, request: Request, by_hand: bool, said: tuple[str, ...] = ()) -> Outcome:
    """The map by the law that holds for this network, with its guarantee and the reasons why that is not better.

    `by_hand`: the network is a lattice that the caller made. `said`: reasons that the stages before this one found.
    """
    outcome = _by_the_law_that_holds(traced, request, by_hand, said)
    squared, guarantee, reasons = outcome.squared, outcome.guarantee, outcome.reasons
    if not np.isfinite(squared).all():
        raise ResourceError("the predicted map has entries that are not finite: the moments of this network leave float64")
    if not squared.any():
        closed = [name for name, variance in traced.variances.items() if variance == 0]
        closed += [name for name, factor in traced.factors.items() if not np.any(factor)]
        norms = [node.name for node in traced.lattice.nodes if is_batch_norm(node)]
        if request.train and norms and not closed:
            raise AssumptionError(
                f"{listed(norms)}: what the output reads sees the input only through the mean and the variance of a batch, of "
                "relative size 1 / (batch * positions), which the law of train mode leaves out"
            )
        reasons = (*reasons, f"all weights are zero: nothing passes ({listed(closed)})") if closed else reasons
    doubts = traced.doubts
    if traced.unproven:
        doubts = (f"a lattice that was not compared with the model's own gradient: {traced.unproven}", *doubts)
    if doubts:
        guarantee, reasons = Guarantee.APPROXIMATE, (*doubts, *reasons)
    squared.setflags(write=False)
    return outcome._replace(guarantee=guarantee, reasons=reasons)


def _by_the_law_that_holds(traced: Trace, request: Request, by_hand: bool, said: tuple[str, ...]) -> Outcome:
    _check_branches(traced.lattice)
    _check_winners(traced.lattice)
    _check_products(traced, request.train)
    _check_centred_gates(traced.lattice)
    _check_rounding(traced)
    guarantee, reasons = warrant(traced)
    more = train_reasons(traced.lattice, request.batch) if request.train else ()
    if traced.skewed:
        more = (*more, f"weights with a structure: only their second moments are used ({listed(list(traced.skewed))})")
    guarantee, reasons = Guarantee.APPROXIMATE if more else guarantee, (*more, *reasons, *said)
    fresh = request.inputs is not None and guarantee is not Guarantee.EXACT and not traced.skewed
    if fresh and _infinite_width_holds(traced, by_hand):
        squared = given_input_moments(traced, request.inputs, output=traced.unit)
        reasons = ("gates that share filters: their joint moments are those of infinite width",)
        return Outcome(squared, Guarantee.WIDE_LIMIT, reasons, traced.with_gates(replicates=()), False)  # nothing counted in it
    pooled = guarantee is Guarantee.APPROXIMATE and not (request.train and _has_batch_norms(traced.lattice))
    squared, added = path_law(traced, pooled)
    guarantee = Guarantee.APPROXIMATE if traced.plan.copies else guarantee
    return Outcome(squared, guarantee, (*reasons, *added), traced, pooled)


def _check_branches(lattice: Lattice) -> None:
    """Refuse gates of one signal that stand beside each other on branches of one sum."""
    copies = [f"{one} beside {other}" for one, other in scaled_copies(lattice)]
    if copies:
        raise UnsupportedError(
            f"{listed(copies)}: a layer of one weight a channel gives what the gate gives times a number, and is added to it; "
            "how often the gate above both is open has no rule here. Give the layer more weights, or leave it out"
        )
    parallel = [f"{one} and {other}" for one, other in parallel_gates(lattice)]
    if parallel:
        raise UnsupportedError(
            f"{listed(parallel)}: two gates of one signal on branches that meet in a sum without weights of their own between; "
            "how often both are open has no rule here. Where they are one function, apply it once and use its result twice"
        )


def _check_winners(lattice: Lattice) -> None:
    """Refuse maxima over sums of so few saturating gates that what their winners pass is a tail."""
    tails = [f"{top} over {layer}" for top, layer, lost in lost_by_saturated_winners(lattice) if lost > MOST_LOST]
    if tails:
        raise AssumptionError(
            f"{listed(tails)}: each cell is the sum of so few saturating gates that where it is the largest they are closed; "
            "what passes is a tail that has no rule here. Give the layer more inputs, or take the maximum over fewer cells"
        )


def _check_products(traced: Trace, train: bool) -> None:
    """Refuse products of so many factors that grow with so few inputs and weights that rare ones are worth nearly all."""
    more, names = growth_of_products(traced, train)
    if more > MOST_GROWTH:
        raise AssumptionError(
            f"{listed(list(names))}: a product of products of one signal grows as a high power of its size, so that the mean "
            f"of its squared gradient may be {more:.2g} times that of independent factors, in rare draws. Give it more inputs "
            "or channels, a norm before the product, or a sigmoid on one of the factors"
        )


def _check_centred_gates(lattice: Lattice) -> None:
    """Refuse averages of gates of a signal less its average, where the slopes at the few positions cancel."""
    if names := centred_gates(lattice):
        raise AssumptionError(
            f"{listed(names)}: the average of a gate with even slopes, of a signal less its average over few positions; "
            "the slopes are alike, and hardly anything of the gradient is left. Give it more positions, or no average above"
        )


def _check_rounding(traced: Trace) -> None:
    """Refuse maxima over cells that differ by less than numbers of the model's type are rounded by: the first of them wins.

    In double precision the moments themselves are rounded by as much, and cannot tell.
    """
    nodes = traced.lattice.nodes
    maxima = [node for node in nodes if isinstance(node.op, AdaptivePool | GlobalPool | Pool) and node.op.kind == "max"]
    if not maxima or not traced.precision:
        return
    try:
        found = signals(traced, pairs=False, last=max(node.inputs[0] for node in maxima))
    except (AssumptionError, UnsupportedError):
        return
    equal = []
    for node in maxima:
        power, cross, _ = (np.mean(part) for part in found[node.inputs[0]])
        if power and power - cross < traced.precision**2 * power:  # nothing is left where doubles are rounded by more
            equal.append(node.name)
    if equal:
        raise AssumptionError(
            f"{listed(equal)}: its cells differ by less than numbers of this type are rounded by ({traced.precision:.1g}), so "
            "that which one wins is a matter of rounding; give larger factors below, or a finer type"
        )


def path_law(traced: Trace, pooled: bool) -> tuple[Array, tuple[str, ...]]:
    """The sum over paths; with `pooled`, with what a pooled head adds to it, and what is to be said of both."""
    squared, share = squares_and_rest(traced, traced.unit)
    copies = listed(list(traced.plan.copies))
    said = (f"one signal on several channels: their joint moments are left out, {share:.2g} of the map at most ({copies})",)
    squared, added = _with_pooled_head(traced, squared) if pooled else (squared, ())
    return squared, (*(said if traced.plan.copies else ()), *added)


def _with_pooled_head(traced: Trace, squared: Array) -> tuple[Array, tuple[str, ...]]:
    """The map with what the second path law adds, where a gate stands under a global average at the head."""
    gates = pooled_gates(traced.lattice)
    if not gates:
        return squared, ()
    name = listed([traced.lattice.nodes[gate].name for gate in gates])
    try:
        more = head_correction(traced, traced.unit)
    except UnsupportedError as refusal:
        return squared, (f"a pooled head: the second path law was left out: {refusal} ({name})",)
    assert more is not None
    return squared + more, (f"a pooled head: the second path law was added, for white inputs ({name})",)


def _has_batch_norms(lattice: Lattice) -> bool:
    return any(map(is_batch_norm, lattice.nodes))


def _infinite_width_holds(traced: Trace, strict: bool) -> bool:
    """Does the law for given inputs cover this network? A `strict` caller has nothing else to go by, and is told why not."""
    reasons = refusals(traced.lattice)
    if traced.shifted:
        reasons = (*reasons, f"{listed(sorted(traced.shifted))}: biases or shifts that are not zero")
    if reasons and strict:
        lines = "\n".join(f"  {reason}" for reason in reasons)
        raise UnsupportedError(f"the law for given inputs does not cover this lattice; predict without inputs=:\n{lines}")
    return not reasons and (strict or fits(traced.lattice))

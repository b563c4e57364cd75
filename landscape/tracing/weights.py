"""What a model's weights say: V[w] of each layer, the factors of its norms, and whether Proposition 1's assumptions hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from landscape.prior import Shift
from landscape.structure.signs import is_batch_norm
from landscape.weights.fans import weighted
from landscape.weights.fixed_weights import tied_layers, undecided
from landscape.weights.fresh_weights import centred, doubts_about, problem_with
from landscape.weights.weight_draws import FEWEST, FINEST, LayerDraws, Moments, moments_of, pooled
from lattice import AssumptionError, Lattice
from lattice.errors import listed
from lattice.network.attention import Attention

__all__ = ["Weights", "read_weights"]

Array = np.ndarray[Any, Any]
NUMBERS = ("eps", "number", "shift")  # what a norm knows besides tensors
ONE_SIZE = 1e-6  # of the error of a variance, which is that of rounding where all weights have one size
MOST_UNDECIDED = 16  # draws, where entries did not change and that may be chance


class Weights(NamedTuple):
    """What the weights of a model say, by node name: see `landscape.tracing.trace.Trace`."""

    variances: dict[str, float]
    factors: dict[str, Any]
    signs: dict[str, Any]
    shifts: dict[str, Shift]
    shifted: frozenset[str]
    skewed: tuple[str, ...]
    variance_errors: dict[str, float]
    doubts: tuple[str, ...]
    of_signs: frozenset[str] = frozenset()


@dataclass
class _Found:
    """What was read so far: the draws of each layer's weights and of its bias, norms, and what is wrong."""

    layers: dict[str, LayerDraws] = field(default_factory=dict)
    biases: dict[str, list[Moments]] = field(default_factory=dict)
    factors: dict[str, Any] = field(default_factory=dict)
    signs: dict[str, Any] = field(default_factory=dict)
    shifts: dict[str, Shift] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    valueless: list[str] = field(default_factory=list)
    norms: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: dict[str, list[Moments]] = field(default_factory=dict)  # of weights that are made of a parameter, which is judged
    changing: dict[str, None] = field(default_factory=dict)


def read_weights(
    lattice: Lattice,
    weights: dict[str, dict[str, Any]],
    tensors: dict[str, Any],
    given: Mapping[str, float] | None,
    train: bool = False,
    as_they_are: bool = False,
    draws: Iterable[dict[str, Any]] = (),
    least: int = 1,
) -> Weights:
    """V[w] and its error, the squared factors of norms, the shifted layers, and what is not as in a fresh initialisation.

    `weights` says which tensors each node uses, by name; `tensors` has them; `given` stands in for their second moments, and
    then nothing is asked of the weights but that no two layers share memory. With `train`, the factor of a batch norm is its
    gamma^2 alone. `draws` has the tensors of further draws of a factory, of which `least`, the first one included, are used at
    least, and more where entries did not change and that may be chance. `AssumptionError` lists tied, broken, masked, frozen,
    correlated and skewed weights; those that are no fresh draws are only named, as `skewed`, where weights are to be taken
    `as_they_are`.
    """
    result = _Found(problems=_tied(lattice, weights, tensors))
    of_batch = {node.name for node in lattice.nodes if train and is_batch_norm(node)}  # in training mode, not frozen
    for node in lattice.nodes:
        if node.name in weights and not isinstance(node.op, Attention):
            _read_node(
                result, node.name, weighted(node.op), weights[node.name], tensors, given is not None, node.name in of_batch
            )
    if result.valueless:
        result.problems.append(
            f"{listed(result.valueless)}: on the meta device weights have no values; pass initialisation=landscape.he"
        )
    _refuse(result.problems)
    for drawn, more in enumerate(draws, start=2):
        _read_draw(result, weights, more, drawn, of_batch)
        waiting = drawn < MOST_UNDECIDED and any(undecided(layer) for layer in result.layers.values())
        if drawn >= least and not waiting:
            break
    shifted = {name for name, shift in result.shifts.items() if name in result.factors}
    for name, draws_of_bias in result.biases.items():
        bias = pooled(draws_of_bias)
        mean = 0.0 if centred(bias) else bias.mean
        result.shifts[name] = Shift(mean, max(float(bias.squares.mean()) - mean**2, 0.0))
        shifted |= {name} if mean else set()
    skewed = _judge(result, as_they_are)
    moments = {name: pooled(result.made.get(name, layer.moments)) for name, layer in result.layers.items()}
    variances = dict(given) if given is not None else {name: float(seen.squares.mean()) for name, seen in moments.items()}
    errors = {name: moments[name].variance_error if name in moments else 0.0 for name in variances}
    doubts = doubts_about([layer for name, layer in result.layers.items() if name not in skewed])
    if result.changing:
        changing = listed(list(result.changing))
        doubts.append(f"a norm that changes from draw to draw: its mean square is used, and its first shift ({changing})")
    of_signs = frozenset(name for name, seen in moments.items() if seen.count >= FEWEST and 0 <= seen.variance_error < ONE_SIZE)
    return Weights(
        variances, result.factors, result.signs, result.shifts, frozenset(shifted), skewed, errors, tuple(doubts), of_signs
    )  # fmt: skip


def _read_node(
    result: _Found, name: str, has_weights: bool, used: dict[str, Any], tensors: dict[str, Any], given: bool, of_batch: bool
) -> None:
    """The first draw of one layer's weights, or of one norm's numbers."""
    numbers = {what: _numbers(tensors, tensor) for what, tensor in used.items() if what not in (*NUMBERS, "parent")}
    broken = [what for what, value in numbers.items() if value is not None and not _finite(value)]
    if broken:
        result.problems.append(f"{name}: its {', '.join(broken)} has NaN or infinite entries")
    elif has_weights:
        weight, bias = numbers["weight"], numbers["bias"]
        if not given and weight is None:
            result.valueless.append(name)
        elif not given and np.iscomplexobj(weight):
            result.problems.append(f"{name}: complex weights have no rule")
        elif not given:
            parent = used.get("parent", used["weight"])
            result.layers[name] = LayerDraws(name, _numbers(tensors, parent), *_kind(tensors[parent]))
            if "parent" in used:
                result.made[name] = [moments_of(weight)]
        if bias is not None and np.any(bias):
            result.biases[name] = [moments_of(bias)]
    else:
        result.norms[name] = dict(numbers)
        if of_batch:
            numbers |= {"running_mean": None, "running_var": None}
        coefficient, shift = _norm_coefficient(numbers, used)
        result.factors[name] = _one_or_each(coefficient**2)
        if np.any(coefficient < 0):
            result.signs[name] = _one_or_each(np.sign(coefficient))
        if np.any(shift):
            result.shifts[name] = Shift(_one_or_each(shift), 0.0)


def _finite(values: Array) -> bool:
    """Is there neither an infinity nor a NaN? The sum of the squares tells, where it does not leave the range itself."""
    flat = values.ravel(order="K")
    with np.errstate(all="ignore"):
        known = bool(np.isfinite(np.dot(flat, flat)))
    return known or bool(np.isfinite(values).all())


def _read_draw(
    result: _Found, weights: dict[str, dict[str, Any]], tensors: dict[str, Any], drawn: int, of_batch: Collection[str]
) -> None:
    """One more draw of every layer's weights and bias; the squared factors of norms that change are averaged over `drawn`."""
    for name, layer in result.layers.items():
        weight = _numbers(tensors, weights[name].get("parent", weights[name]["weight"]))
        if name in result.made:
            result.made[name].append(moments_of(_numbers(tensors, weights[name]["weight"])))
        if not np.isfinite(weight).all():
            _refuse([f"{name}: its weight has NaN or infinite entries in a further draw"])
        layer.add(weight)
    for name, moments in result.biases.items():
        moments.append(moments_of(_numbers(tensors, weights[name]["bias"])))
    for name, before in result.norms.items():
        numbers = {what: _numbers(tensors, tensor) for what, tensor in weights[name].items() if what not in NUMBERS}
        if any(not np.array_equal(value, before[what]) for what, value in numbers.items() if value is not None):
            result.changing[name] = None
        if name in result.changing:
            used = numbers | {"running_mean": None, "running_var": None} if name in of_batch else numbers
            square = _norm_coefficient(used, weights[name])[0] ** 2
            result.factors[name] = _one_or_each(np.atleast_1d(result.factors[name] + (square - result.factors[name]) / drawn))


def _judge(result: _Found, as_they_are: bool) -> tuple[str, ...]:
    """Refuses weights that are no fresh draws, or returns the names of their layers, to be taken `as_they_are`."""
    problems = {name: problem for name, layer in result.layers.items() if (problem := problem_with(layer))}
    fresh = [layer for name, layer in result.layers.items() if name not in problems and not layer.vanishes]
    ties = tied_layers(fresh)
    if not as_they_are:
        _refuse([*problems.values(), *ties])
    return (*problems, *(tie.split(":")[0] for tie in ties))


def _refuse(problems: list[str]) -> None:
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise AssumptionError(f"Proposition 1 does not hold for these weights:\n{lines}")


def _tied(lattice: Lattice, weights: dict[str, dict[str, Any]], tensors: dict[str, Any]) -> list[str]:
    """Layers that share a weight: numbers at one place in memory, or on the meta device, which has none, a name."""
    users = {node.name: weights[node.name]["weight"] for node in lattice.nodes if weighted(node.op)}
    by_name: dict[str, list[str]] = {}
    for layer, name in users.items():
        by_name.setdefault(name, []).append(layer)
    spans = sorted((_span(tensors[name]), name) for name in by_name if not tensors[name].is_meta)
    ties = [[name] for name in by_name if len(by_name[name]) > 1]
    reach: list[tuple[tuple[Any, int, int], str]] = []
    for span, name in spans:
        reach = [(other, before) for other, before in reach if other[0] == span[0] and other[2] > span[1]]
        ties += [[before, name] for _, before in reach if _share_memory(tensors[before], tensors[name])]
        reach.append((span, name))
    groups: list[set[str]] = []
    for tie in ties:
        joined = set(tie).union(*(group for group in groups if group & set(tie)))
        groups = [*(group for group in groups if not group & joined), joined]
    names = [[layer for layer, name in users.items() if name in group] for group in groups]
    return [
        f"{', '.join(layers)}: tied weights (one tensor used {len(layers)} times), so their paths are not independent"
        for layers in names
        if len(layers) > 1
    ]


def _span(tensor: Any) -> tuple[str, int, int]:
    """The device and the first and last byte of a tensor's numbers."""
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return str(tensor.device), start, start + (steps + 1) * tensor.element_size()


def _share_memory(one: Any, other: Any) -> bool:
    """Whether two tensors whose spans overlap have a number in common; views such as w[::2] and w[1::2] have not."""
    if one.is_contiguous() or other.is_contiguous():
        return True
    return np.intersect1d(_places(one), _places(other)).size > 0


def _places(tensor: Any) -> Array:
    """Where in memory each of a tensor's numbers stands."""
    addresses = np.array(tensor.data_ptr())
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        addresses = np.add.outer(addresses, np.arange(size) * stride * tensor.element_size())
    return addresses.ravel()


def _kind(tensor: Any) -> tuple[float, bool]:
    """How finely a tensor's numbers are rounded, relative to their size, and whether it asks for no gradient."""
    import torch

    return max(torch.finfo(tensor.dtype).eps, FINEST), not tensor.requires_grad


def _numbers(tensors: dict[str, Any], name: str | None) -> Any:
    """A parameter's values as a float array, or None where there is none (no bias, or a tensor on the meta device)."""
    if name is None or tensors[name].is_meta:
        return None
    values = tensors[name].detach().cpu()
    return values.float().numpy() if values.element_size() < 4 else values.numpy()


def _one_or_each(values: Array) -> Any:
    """One number where all channels have the same."""
    return float(values.flat[0]) if np.ptp(values) == 0 else values


def _norm_coefficient(result: dict[str, Any], used: dict[str, Any]) -> tuple[Array, Array]:
    """gamma / sqrt(running variance + eps), and beta - gamma * running mean / sigma, per channel; with fixed numbers."""
    variance = result["running_var"] + used["eps"] if result["running_var"] is not None else np.ones(1)
    gamma = result["weight"].ravel() if result["weight"] is not None else np.ones_like(variance)
    beta = result["bias"].ravel() if result["bias"] is not None else np.zeros_like(variance)
    maps = [result.get(f"{role}_map") for role in ("weight", "bias")]
    if maps[0] is not None or maps[1] is not None:  # one for each unit, (channels, *positions); no running statistics then
        units = next(one.ndim for one in maps if one is not None)
        gamma, beta = (
            each.reshape(-1, *(1,) * (units - 1)) if one is None else one for each, one in zip((gamma, beta), maps, strict=True)
        )
        number, shift = used.get("number", 1.0), used.get("shift", 0.0)
        return number * gamma.astype(np.float64), np.asarray(beta + shift, dtype=np.float64)
    mean = result["running_mean"] if result["running_mean"] is not None else np.zeros_like(variance)
    number, shift = used.get("number", 1.0), used.get("shift", 0.0)
    deviation = np.sqrt(variance.astype(np.float64))
    return number * gamma.astype(np.float64) / deviation, np.atleast_1d(beta - gamma * mean / deviation + shift)

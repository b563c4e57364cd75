"""What a model's weights say: V[w] of each layer, the factors of its norms, and whether Proposition 1's assumptions hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy.special import chdtrc, stdtr

from landscape.assumptions import listed
from landscape.initialisation import weighted
from lattice import AssumptionError, Lattice, Node, Norm

__all__ = ["Shift", "Weights", "average_variances", "read_weights"]

Array = np.ndarray[Any, Any]
NUMBERS = ("eps", "number", "shift")  # what a norm knows besides tensors
PIECE = 1 << 15  # numbers, in double precision 256 KiB
ROUNDING = 1e-12
LEAST_CHANCE = 2e-9  # what independent normal weights do less often than this is not chance


class Shift(NamedTuple):
    """What a layer adds: the mean and the variance of its bias, each a number or an array over channels."""

    mean: Any
    variance: Any


class Weights(NamedTuple):
    """What the weights of a model say, by node name: see `landscape.trace.Trace`."""

    variances: dict[str, float]
    factors: dict[str, Any]
    signs: dict[str, Any]
    shifts: dict[str, Shift]
    shifted: frozenset[str]
    skewed: tuple[str, ...]


def read_weights(
    lattice: Lattice,
    weights: dict[str, dict[str, Any]],
    tensors: dict[str, Any],
    given: Mapping[str, float] | None,
    train: bool = False,
    as_they_are: bool = False,
) -> Weights:
    """V[w], the squared factors of norms, the shifted layers, and what is not as in a fresh initialisation.

    `weights` says which tensors each node uses, by name; `tensors` has them; `given` stands in for their second moments. With
    `train`, the factor of a batch norm is its gamma^2 alone. `AssumptionError` lists tied, broken and skewed weights; skewed
    ones are only named, in the last part of the result, where weights are to be taken `as_they_are`.
    """
    variances: dict[str, float] = {}
    skewed: list[str] = []
    factors: dict[str, Any] = {}
    signs: dict[str, Any] = {}
    shifts: dict[str, Shift] = {}
    shifted: set[str] = set()
    problems = _tied(lattice, weights, tensors)
    valueless: list[str] = []
    for node in lattice.nodes:
        if node.name not in weights:
            continue
        found = {what: _numbers(tensors, name) for what, name in weights[node.name].items() if what not in NUMBERS}
        broken = [what for what, value in found.items() if value is not None and not np.isfinite(value).all()]
        if broken:
            problems.append(f"{node.name}: its {', '.join(broken)} has NaN or infinite entries")
        elif weighted(node.op):
            if given is not None:
                variances[node.name] = given[node.name]
            elif (value := found["weight"]) is None:
                valueless.append(node.name)
            else:
                moments = _moments(np.abs(value) if np.iscomplexobj(value) else value)
                variances[node.name] = float(moments.squares.mean())
                if np.iscomplexobj(value):
                    problems.append(f"{node.name}: complex weights have no rule")
                elif problem := _unlike_fresh(node, moments):
                    (skewed if as_they_are else problems).append(problem)
            if found["bias"] is not None and np.any(found["bias"]):
                bias = _moments(found["bias"])
                mean = 0.0 if _centred(bias) else bias.mean
                shifts[node.name] = Shift(mean, float(bias.squares.mean()) - mean**2)
                if mean:
                    shifted.add(node.name)
        else:
            if train and node.op == Norm("batch"):
                found |= {"running_mean": None, "running_var": None}
            coefficient, shift = _norm_coefficient(found, weights[node.name])
            factors[node.name] = _one_or_each(coefficient**2)
            if np.any(coefficient < 0):
                signs[node.name] = _one_or_each(np.sign(coefficient))
            if np.any(shift):
                shifts[node.name] = Shift(_one_or_each(shift), 0.0)
                shifted.add(node.name)
    if valueless:
        problems.append(f"{listed(valueless)}: on the meta device weights have no values; pass initialisation=landscape.he")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise AssumptionError(f"Proposition 1 does not hold for these weights:\n{lines}")
    names = tuple(problem.split(":")[0] for problem in skewed)
    return Weights(variances, factors, signs, shifts, frozenset(shifted), names)


def average_variances(
    variances: dict[str, float], parameters: dict[str, str], draws: Iterable[dict[str, Any]]
) -> dict[str, float]:
    """V[w] of each layer averaged with the second moments of further draws, given the name of each layer's parameter."""
    seen = {name: [variance] for name, variance in variances.items()}
    for draw in draws:  # one network at a time: large ones do not fit into memory together
        for name, moments in seen.items():
            moments.append(float(_moments(_numbers(draw, parameters[name])).squares.mean()))
    return {name: float(np.mean(moments)) for name, moments in seen.items()}


def _tied(lattice: Lattice, weights: dict[str, dict[str, Any]], tensors: dict[str, Any]) -> list[str]:
    """Layers that share a weight: by name, or by memory."""
    users: dict[Any, list[str]] = {}
    for node in lattice.nodes:
        if weighted(node.op):
            tensor = tensors[weights[node.name]["weight"]]
            # tensors on the meta device have no memory to share: there the name decides
            memory = tensor.untyped_storage().data_ptr() if not tensor.is_meta else 0
            users.setdefault(memory or weights[node.name]["weight"], []).append(node.name)
    return [
        f"{', '.join(names)}: tied weights (one tensor used {len(names)} times), so their paths are not independent"
        for names in users.values()
        if len(names) > 1
    ]


def _numbers(tensors: dict[str, Any], name: str | None) -> Any:
    """A parameter's values as a float array, or None where there is none (no bias, or a tensor on the meta device)."""
    if name is None or tensors[name].is_meta:
        return None
    values = tensors[name].detach().cpu()
    return values.float().numpy() if values.element_size() < 4 else values.numpy()


@dataclass(frozen=True)
class Moments:
    """Of a layer's weights: how many, their mean, their second moment at every tap, their fourth moment."""

    count: int
    mean: float
    squares: Array
    fourth: float

    @property
    def deviation(self) -> float:
        return float(np.sqrt(max(self.squares.mean() - self.mean**2, 0)))


def _moments(weight: Array) -> Moments:
    """Sums in double precision, over pieces that stay in the processor's cache; weight (out, in, *taps), or any vector."""
    rows = weight.reshape(-1, prod(weight.shape[2:]))
    sums, squares, fourth = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0.0
    for piece in np.array_split(rows, -(-weight.size // PIECE)):
        numbers = piece.astype(np.float64)
        ones = np.ones(len(numbers))
        sums += ones @ numbers
        numbers *= numbers
        squares += ones @ numbers
        fourth += float(np.vdot(numbers, numbers))
    return Moments(weight.size, float(sums.sum()) / weight.size, squares / len(rows), fourth / weight.size)


def _unlike_fresh(node: Node, weights: Moments) -> str | None:
    """What tells these weights from independent ones of mean zero and one variance, if anything does."""
    if not _centred(weights):
        error = weights.deviation / np.sqrt(weights.count)
        return (
            f"{node.name}: the mean of its {weights.count} weights is {weights.mean:.3g}, not zero (standard error "
            f"{error:.3g}; trained weights?); give a freshly initialised model, or initialisation=: a scheme such as 'he', or "
            "'weights' for these as they are"
        )
    if not _even_taps(weights):
        return (
            f"{node.name}: the variance of its weights differs from tap to tap (trained weights?); "
            "give a freshly initialised model, or initialisation=: a scheme such as 'he', or 'weights' for these as they are"
        )
    return None


def _centred(values: Moments) -> bool:
    """Is the mean zero, by Student's t? All zeros are; one value alone cannot tell and passes."""
    freedom = values.count - 1
    if freedom < 1:
        return True
    if values.deviation == 0:
        return values.mean == 0
    return bool(2 * stdtr(freedom, -abs(values.mean) / values.deviation * np.sqrt(freedom)) >= LEAST_CHANCE)


def _even_taps(weights: Moments) -> bool:
    """Is the second moment the same at every tap, by chi squared, with the freedom that the squares' own spread gives?"""
    count, mean = weights.count // weights.squares.size, weights.squares.mean()
    spread = weights.fourth - mean**2
    if count < 100 or spread <= ROUNDING * mean**2:
        return True  # too few weights per tap to tell, or all of one size
    freedom = 2 * count * mean**2 / spread
    tail = chdtrc(freedom, freedom * weights.squares / mean)
    return bool(2 * np.minimum(tail, 1 - tail).min() * tail.size >= LEAST_CHANCE)


def _one_or_each(values: Array) -> Any:
    """One number where all channels have the same."""
    return float(values[0]) if np.ptp(values) == 0 else values


def _norm_coefficient(found: dict[str, Any], used: dict[str, Any]) -> tuple[Array, Array]:
    """gamma / sqrt(running variance + eps), and beta - gamma * running mean / sigma, per channel; with fixed numbers."""
    variance = found["running_var"] + used["eps"] if found["running_var"] is not None else np.ones(1)
    gamma = found["weight"].ravel() if found["weight"] is not None else np.ones_like(variance)
    beta = found["bias"].ravel() if found["bias"] is not None else np.zeros_like(variance)
    mean = found["running_mean"] if found["running_mean"] is not None else np.zeros_like(variance)
    number, shift = used.get("number", 1.0), used.get("shift", 0.0)
    deviation = np.sqrt(variance.astype(np.float64))
    return number * gamma.astype(np.float64) / deviation, np.atleast_1d(beta - gamma * mean / deviation + shift)

"""`judge(case)`: a prediction is right within its guarantee, or refused by name; anything else is a miss.

EXACT: scale and map equal to Monte Carlo within its noise, and to the enumeration of all sign patterns where a net is tiny.
WIDE_LIMIT, APPROXIMATE: within the size that the prediction states (`scale_range`: the lowest and highest measured / predicted
that it allows; `map_error`: the root mean square error of the relative map), or within `STATED` where it states none.
Draws are taken in steps while there is suspicion; how rare a false alarm is, `statistics` says.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from landscape import predict as landscape_predict
from lattice import PilcroError
from tests.nets import statistics
from tests.nets.autograd import enumerated, monte_carlo, random_signs, variance_error
from tests.nets.build import Case

DRAWS = (200, 2000, 8000)
SUSPICION = 3.0  # standard errors
VAGUE = 0.15  # a scale known less well than this needs more draws
GROSS = 9.0  # beyond this, the first draws are enough
ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.04}  # of a gradient that passes through ten layers
SATURATING = {"smooth", "kinked", "clamp", "gate", "softmax", "written-out", "gate-on-gate", "custom-function"}
STATED = {"WIDE_LIMIT": ((0.5, 2.0), 0.15), "APPROXIMATE": ((0.5, 2.0), 0.20)}


@dataclass(frozen=True)
class Verdict:
    """`outcome`: "right", "refused", "undecided" (tails too heavy to tell), "miss"; `kind`: what sort of miss."""

    outcome: str
    kind: str = ""
    guarantee: str = ""
    reasons: tuple[str, ...] = ()
    message: str = ""
    scale: float = float("nan")
    scale_error: float = float("nan")
    map_error: float = float("nan")
    draws: int = 0
    stated: tuple[float, float, float] | None = (
        None  # the least and largest measured / predicted, the map error that are allowed
    )
    said: str = ""  # what was predicted, or why nothing, in few words

    def __str__(self) -> str:
        if self.outcome == "refused" or not self.draws:
            return f"{self.outcome} {self.kind} {self.guarantee}: {self.message}".strip()
        return (
            f"{self.outcome} {self.kind} {self.guarantee} {list(self.reasons)}: measured / predicted {self.scale:.4g} +- "
            f"{self.scale_error:.2g}, map error {self.map_error:.1%} after {self.draws} draws {self.message}"
        )


def asked(case: Case, predict: Callable[..., Any] = landscape_predict) -> Any:
    """What `predict` says of this network."""
    more = {"batch": case.batch} if case.mode == "train" else {}
    return predict(case.factory, case.shape, mode=case.mode, output=case.output, initialisation=case.initialisation, **more)


def said(case: Case) -> str:
    """What `predict` says of this network, as of `Verdict.said`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _as_text(asked(case))
        except Exception as error:
            return _as_text(error)


def _as_text(found: Any) -> str:
    """Size and shape of a map to six digits, and what it promises; or the error that was raised."""
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    land = found
    squared = np.asarray(land.squared, dtype=float)
    size = float(squared.mean())
    shape = np.round(squared / (size or 1.0), 6)
    digest = sha256(shape.tobytes()).hexdigest()[:16]
    promise = [land.guarantee.name, *(f"{one:.6g}" for one in (*land.scale_range, land.map_error, land.scale_error))]
    return " ".join([f"{size:.6g}", digest, *promise])


def judge(case: Case, predict: Callable[..., Any] = landscape_predict, draws: Sequence[int] = DRAWS) -> Verdict:
    """The verdict on what `predict` says of this network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = torch.get_rng_state()
        try:
            land = asked(case, predict)
        except PilcroError as refusal:
            named, text = bool(str(refusal).strip()), _as_text(refusal)
            return Verdict("refused" if named else "miss", type(refusal).__name__, message=str(refusal), said=text)
        except Exception as error:  # whatever else is raised is what we look for
            return Verdict("miss", "raw error", message=f"{type(error).__name__}: {str(error)[:300]}", said=_as_text(error))
        if not torch.equal(state, torch.get_rng_state()):
            return Verdict("miss", "random state changed", land.guarantee.name, tuple(land.reasons))
        return replace(compared(case, land, draws), said=_as_text(land))


def compared(case: Case, land: Any, draws: Sequence[int] = DRAWS) -> Verdict:
    """Is this map the network's, within what it promises?"""
    said = {"guarantee": land.guarantee.name, "reasons": tuple(land.reasons)}
    predicted = np.asarray(land.squared, dtype=float)
    if predicted.shape != case.shape[1:] or not np.isfinite(predicted).all() or (predicted < 0).any():
        return Verdict("miss", "not a map", message=f"shape {predicted.shape}, least {predicted.min()}", **said)
    promise = _promised(case, land)
    said["stated"] = (promise.low, promise.high, promise.error)
    maps, found = np.empty((0, predicted.size)), Verdict("right", **said)
    for total in draws[1:] if promise.exact else draws:
        more = monte_carlo(case, total - len(maps), start=len(maps)).reshape(-1, predicted.size)
        maps = np.concatenate([maps, more])
        z, found = _tested(maps, predicted.ravel(), promise, said)
        vague = not found.scale_error < VAGUE * found.scale
        if (z < SUSPICION and not (vague and total < draws[1])) or (found.outcome == "miss" and z > GROSS):
            break
    if found.outcome == "right" and vague and maps.any():
        found = replace(found, outcome="undecided", kind="heavy tails")
    return _enumerated(case, predicted, found) if promise.exact and found.outcome != "miss" else found


@dataclass(frozen=True)
class Promise:
    """The lowest and highest measured / predicted, and the largest map error that are allowed.

    `rare`: the gradient may be almost always zero and then huge (a saturated gate above very large weights), which no number of
    draws shows.
    """

    low: float
    high: float
    error: float
    exact: bool
    rare: bool


def _promised(case: Case, land: Any) -> Promise:
    """The interval of measured / predicted and the error of the map that this prediction allows."""
    rounding = ROUNDING[case.dtype]
    uncertain = 0.0 if case.initialisation else statistics.ALARM * _variance_error(case, land)
    rare = "scaled" in case.kinds and bool(SATURATING & case.kinds)
    if land.guarantee.name == "EXACT":
        return Promise(np.exp(-rounding - uncertain), np.exp(rounding + uncertain), rounding + uncertain / 2, True, rare)
    scale, error = STATED[land.guarantee.name]
    low, high = getattr(land, "scale_range", None) or scale
    error = error if getattr(land, "map_error", None) is None else land.map_error
    return Promise(low * np.exp(-rounding - uncertain), high * np.exp(rounding + uncertain), error + rounding, False, rare)


def _variance_error(case: Case, land: Any) -> float:
    said = getattr(land, "scale_error", None)
    return variance_error(case) if said is None else float(said)


def _tested(maps: np.ndarray, predicted: np.ndarray, promise: Promise, said: dict[str, Any]) -> tuple[float, Verdict]:
    """The largest deviation in standard errors, and the verdict that it gives."""
    said = {**said, "draws": len(maps)}
    if not np.isfinite(maps).all():
        return 0.0, Verdict("undecided", "overflow in torch", **said)
    if not predicted.any() or not maps.any():
        same = not predicted.any() and not maps.any()
        if promise.rare and predicted.any():
            return 0.0, Verdict("undecided", "too rare to see", **said)
        text = f"mean predicted {predicted.mean():.3g}, measured {maps.mean():.3g}"
        return (0.0 if same else np.inf), Verdict("right" if same else "miss", "" if same else "zero", message=text, **said)
    predicted, maps = predicted / predicted.mean(), maps / predicted.mean()
    totals = maps.mean(1)
    scale = statistics.scale_excess(totals, promise.low, promise.high)
    shape = statistics.map_excess(maps, predicted, promise.error)
    if promise.exact:
        shape = max(shape, statistics.pixel_excess(maps, predicted, promise.error))
    found = {
        "scale": totals.mean(),
        "scale_error": totals.std(ddof=1) / np.sqrt(len(totals)),
        "map_error": statistics.map_error(maps, predicted),
        **said,
    }
    kind = " and ".join(name for name, z in (("scale", scale), ("map", shape)) if z > statistics.ALARM)
    if statistics.ALARM < max(scale, shape) <= statistics.alarm(totals):
        return max(scale, shape), Verdict("undecided", "heavy tails", **found)
    return max(scale, shape), Verdict("miss" if kind else "right", kind, **found)


def _enumerated(case: Case, predicted: np.ndarray, found: Verdict) -> Verdict:
    """An EXACT map equals the mean over every pattern of signs, whatever the input."""
    sizes = random_signs(case)
    if sizes is None:
        return found
    truth = enumerated(case, sizes)
    worst = np.abs(truth - predicted).max() / max(predicted.mean(), truth.mean()) if truth.any() or predicted.any() else 0.0
    if worst <= ROUNDING[case.dtype]:
        return found
    said = {"guarantee": found.guarantee, "reasons": found.reasons, "draws": found.draws, "stated": found.stated}
    return Verdict(
        "miss", "enumeration", message=f"off by {worst:.3g} of the mean", scale=truth.mean() / predicted.mean(), **said
    )

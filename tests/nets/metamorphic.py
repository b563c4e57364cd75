"""Changes of a network that must not change its map: each law takes a case and gives None, or what is broken.

Where a change leaves every draw of the weights as it was, the maps are compared closely; where it gives other random numbers
(another precision), rates that are counted on noise may differ by their noise.
"""

import random
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from landscape import predict
from lattice import PilcroError
from tests.nets.build import Case, factory_of
from tests.nets.judge import ROUNDING, asked

CLOSE = 0.05  # of maps that use rates counted on the same noise
NOISY = 0.3  # of maps that use rates counted on other noise, or on the same images in other pairs with draws of the weights
NOOPS = (
    "{y} * 1.0", "1.0 * {y}", "{y} + 0", "{y} / 1", "{y}.view({y}.shape)", "{y}.reshape({y}.size())", "{y}.clone()",
    "nn.Identity()({y})", "{y} - 0.0", "{y}.contiguous()", "F.dropout({y}, 0.5, training=False)", "{y}.to({y}.dtype)",
    "torch.cat([{y}], 1)", "{y}[:]", "{y}[:, :]", "{y}.expand_as({y})", "-(-{y})",
)  # fmt: skip
HOMOGENEOUS = re.compile(r"self\.(conv|up|head)\d+ = nn\.(Conv|ConvTranspose|Linear)")
NOT_HOMOGENEOUS = {
    "smooth", "kinked", "clamp", "product", "norm", "bias", "shift", "skip", "trunk", "concat", "copies-meet",
    "no-gradient", "structured", "changed-backward", "softmax", "gate-on-gate", "written-out", "inplace-view", "inplace",
    "several-outputs", "pad", "tied", "bias-constant", "scaled", "split", "copies-of-channels", "residual", "if-training",
    "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What was predicted: a map, or the name of a refusal."""

    land: Any = None
    refusal: str = ""


def said(case: Case, **more: Any) -> Said:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Said(asked(case, lambda *a, **k: predict(*a, **k, **more)))
        except PilcroError as refusal:
            return Said(refusal=f"{type(refusal).__name__}: {str(refusal)[:200]}")
        except Exception as error:  # raw errors are what the judge reports
            return Said(refusal=f"raw {type(error).__name__}: {str(error)[:200]}")


def same(case: Case, one: Said, other: Said, counted: float = CLOSE, factor: float = 1.0) -> str | None:
    """None where both refuse or both give the same map, the other one `factor` times as large."""
    if (one.land is None) != (other.land is None):
        return f"refused only one way: {(one.refusal or other.refusal)!r}"
    if one.land is None:
        return None
    if one.land.guarantee.name != other.land.guarantee.name:
        return f"{one.land.guarantee.name} {list(one.land.reasons)} but {other.land.guarantee.name} {list(other.land.reasons)}"
    a, b = np.asarray(one.land.squared) * factor, np.asarray(other.land.squared)
    size = np.sqrt((a**2).mean())
    tolerance = ROUNDING[case.dtype]
    if one.land.guarantee.name == "APPROXIMATE":
        tolerance = max(tolerance, counted if one.land.standard_error.any() else CLOSE)
    apart = np.sqrt(((a - b) ** 2).mean())
    if apart <= tolerance * size:
        return None
    return (
        f"maps {apart / size:.3g} apart, mean {a.mean():.4g} against {b.mean():.4g}" if size else f"zero against {b.mean():.4g}"
    )


def written(case: Case, source: str, **more: Any) -> Case:
    return replace(case, factory=factory_of(source, case.dtype), source=source, **more)


def operands_swapped(case: Case, base: Said) -> str | None:
    return same(case, base, said(written(case, case.variants["swapped"]))) if "swapped" in case.variants else None


def functional_twin(case: Case, base: Said) -> str | None:
    return same(case, base, said(written(case, case.variants["twin"]))) if "twin" in case.variants else None


def no_op_inserted(case: Case, base: Said) -> str | None:
    """After one line of forward that makes a new tensor. Not where views are written to: a copy would cut them off."""
    if {"inplace", "inplace-view"} & case.kinds:
        return None
    lines = case.source.split("\n")
    made = [(at, name[1]) for at, line in enumerate(lines) if (name := re.match(r"        (y\d+) = ", line))]
    if not made:
        return None
    rng = random.Random(case.seed)
    at, name = rng.choice(made)
    noop = rng.choice(NOOPS)
    lines.insert(at + 1, f"        {name} = {noop.format(y=name)}")
    broken = same(case, base, said(written(case, "\n".join(lines))))
    return broken and f"{noop.format(y=name)}: {broken}"


def precision(case: Case, base: Said) -> str | None:
    """float64 instead of float32, with the same weights."""
    if case.dtype is not torch.float32:
        return None
    return same(case, base, said(replace(case, factory=factory_of(case.source, torch.float64))), counted=NOISY)


def layer_scaled(case: Case, base: Said) -> str | None:
    """The weights of one layer times c, a power of two: the gates stay as they are, and the map is c^2 times as large."""
    layers = re.findall(HOMOGENEOUS, case.source)
    names = re.findall(r"self\.((?:conv|up|head)\d+) = ", case.source)
    if not layers or not names or NOT_HOMOGENEOUS & case.kinds or case.initialisation is not None or "bias=True" in case.source:
        return None
    rng = random.Random(case.seed)
    name, c = rng.choice(names), 2.0 ** rng.choice((-30, -20, -10, 10, 20, 30))
    head, tail = case.source.split("    def forward(self, x):")
    scaled = f"{head}        self.{name}.weight.mul_({c!r})\n    def forward(self, x):{tail}"
    broken = same(case, base, said(written(case, scaled)), counted=1e-3, factor=c * c)
    return broken and f"{name} times {c:.3g}: {broken}"


def flips(case: Case, base: Said) -> str | None:
    """A network that treats left and right alike has a map that does so, too."""
    if base.land is None or "asymmetric" in case.kinds:
        return None
    squared = np.asarray(base.land.squared)
    axis = next((k for k in range(squared.ndim) if not np.allclose(squared, np.flip(squared, k), rtol=1e-6, atol=0)), None)
    if axis is None:
        return None
    return f"axis {axis}: {np.abs(squared - np.flip(squared, axis)).max() / squared.mean():.2g} of the mean"


def transposes(case: Case, base: Said) -> str | None:
    """One that treats rows and columns alike, likewise."""
    square = len(case.shape) == 3 and case.shape[1] == case.shape[2]
    if base.land is None or not square or {"asymmetric", "anisotropic"} & case.kinds:
        return None
    squared = np.asarray(base.land.squared)
    if np.allclose(squared, squared.T, rtol=1e-6, atol=0):
        return None
    return f"{np.abs(squared - squared.T).max() / squared.mean():.2g} of the mean"


def images_permuted(case: Case, base: Said) -> str | None:
    """The order of the images given as inputs= does not matter; they stay as they are."""
    if case.mode != "eval" or base.land is None or "dropout-always" in case.kinds:
        return None
    rng = np.random.default_rng(case.seed)
    images = rng.normal(size=(6, *case.shape)).astype("float32")
    kept = images.copy()
    one = said(case, inputs=images)
    if not np.array_equal(images, kept):
        return "the images were overwritten"
    broken = same(case, one, said(case, inputs=kept[rng.permutation(6)]), counted=NOISY)
    return broken and f"permuted: {broken}"


LAWS: tuple[Callable[[Case, Said], str | None], ...] = (
    operands_swapped, functional_twin, no_op_inserted, precision, layer_scaled, flips, transposes, images_permuted,
)  # fmt: skip


def broken_laws(case: Case) -> tuple[str, ...]:
    """The laws that do not hold for this network, each with what was seen."""
    base = said(case)
    found = ((law.__name__.replace("_", " "), law(case, base)) for law in LAWS)
    return tuple(f"{name}: {broken}" for name, broken in found if broken)

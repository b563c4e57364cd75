"""Weights that are fixed, masked or copies of each other: more coincidences than independent draws have.

Counted are entries that never change, entries that are zero, and entries that are proportional in every draw, against the
number that independent draws of these values have on average, by the binomial or Poisson's law. What they do less often than
once in half a billion is not chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod

import numpy as np
from scipy.special import pdtrc, xlogy

from landscape.weights.weight_draws import FEWEST, LEAST_CHANCE, Array, LayerDraws
from lattice.errors import listed

__all__ = ["frozen", "masked", "of_one_size", "peakedness", "repeated", "tied", "tied_layers", "undecided"]

FEW_TAPS = 32  # whose products with each other cost less than a copy of the weight


# --- entries that do not change, or are zero ------------------------------------------------------------------------------


def frozen(layer: LayerDraws) -> str | None:
    """Entries that are the same number in every draw: a fixed filter, or a mask."""
    if layer.same is None or _chance_of_same(layer) >= LEAST_CHANCE:
        return None
    zeros = layer.same & (layer.first == 0)
    number = int(layer.same.sum())
    if zeros.all() or number > zeros.sum():
        return (
            f"{number} of its {layer.count} weights are the same in each of {layer.draws} draws, a fixed filter and no random "
            "weights; a positive averaging filter can be a buffer instead of a parameter; or give the network without it"
        )
    return f"its weights are masked: {_where(zeros)} are zero in every draw, and a masked layer has no rule yet"


def masked(layer: LayerDraws) -> str | None:
    """The zeros of one draw: a continuous law has next to none."""
    number = int(np.count_nonzero(layer.first == 0))
    chance = float(pdtrc(max(number - 1, 0), layer.count * layer.precision)) if number else 1.0
    if layer.fixed and (chance < LEAST_CHANCE or _few_numbers(layer)):
        return (
            f"its {layer.count} weights ask for no gradient and repeat a few numbers: a fixed filter? A positive averaging "
            "filter can be a buffer instead of a parameter; give a factory if they are drawn anew, or the network without it"
        )
    if chance < LEAST_CHANCE:
        zeros = layer.first == 0
        return (
            f"its weights are masked, sparse or a fixed filter: {_where(zeros)} are exactly zero, and such a layer has no rule "
            "yet; give a factory if they are drawn anew, or initialisation= for the layer without its mask"
        )
    return None


def _few_numbers(layer: LayerDraws) -> bool:
    """Do at least half of the entries repeat another one? Of four that is a rotation of two axes."""
    return layer.count > 4 and 2 * _repeats(layer) >= layer.sample[0].size


def _where(zeros: Array) -> str:
    """How many entries of a weight, and at which taps where that says it all."""
    number, taps = int(zeros.sum()), zeros.reshape(*zeros.shape[:2], -1).all(axis=(0, 1))
    text = f"{number} of its {zeros.size} entries"
    if zeros.ndim > 2 and number == taps.sum() * zeros.size // taps.size:
        zero_taps = [str(tuple(map(int, np.unravel_index(i, zeros.shape[2:])))) for i in np.flatnonzero(taps)]
        return f"{text}, all those at the taps {listed(zero_taps)},"
    return text


def _chance_of_same(layer: LayerDraws) -> float:
    """A bound on the chance of so many unchanged entries: a binomial one, from how often these values coincide anyway."""
    assert layer.same is not None
    share = float(layer.same.mean())
    _, counts = np.unique(layer.sample, return_counts=True)
    if len(counts) == 1:
        return 0.0  # one number everywhere and always was not drawn
    rate = max(float(np.sum((counts / counts.sum()) ** layer.draws)), np.finfo(float).tiny)
    if share <= rate:
        return 1.0
    exponent = xlogy(share, share / rate) + xlogy(1 - share, (1 - share) / (1 - rate))
    return float(np.exp(-layer.count * exponent))


def undecided(layer: LayerDraws) -> bool:
    """Are there entries that never changed so far, too few to say that this is no chance?"""
    return layer.same is not None and _chance_of_same(layer) >= LEAST_CHANCE


# --- entries that are tied ------------------------------------------------------------------------------------------------


def tied(layer: LayerDraws) -> str | None:
    """Entries that have one ratio in every draw."""
    draws = layer.sample.reshape(len(layer.sample), -1)
    pairs = _tied_pairs(draws, layer.precision)
    if len(pairs) and pdtrc(len(pairs) - 1, _chance_pairs(draws, layer.precision)) < LEAST_CHANCE:
        return (
            f"tied weights: {len(pairs)} of {draws.shape[1]} entries that were looked at are another one times a constant in "
            f"each of {len(draws)} draws, so their paths are not independent; draw them independently"
        )
    return _tied_channels(layer)


def _tied_pairs(draws: Array, precision: float) -> Array:
    """Pairs of columns of (draws, entries) that are proportional up to rounding, by sorting their directions."""
    entries = np.flatnonzero(np.any(draws != 0, axis=0) & np.any(draws != draws[0], axis=0))
    if len(entries) < 2 or len(draws) < 2:
        return np.empty((0, 2), int)
    vectors = draws[:, entries] / np.abs(draws[:, entries]).max(axis=0)
    vectors /= np.sqrt(np.sum(vectors**2, axis=0))
    leading = vectors[np.argmax(vectors != 0, axis=0), np.arange(len(entries))]
    vectors *= np.sign(leading)
    order = np.argsort(np.random.default_rng(0).normal(size=len(draws)) @ vectors)
    alike = np.abs(np.diff(vectors[:, order], axis=1)).max(axis=0) <= 16 * precision
    return np.stack([entries[order[:-1]][alike], entries[order[1:]][alike]], axis=1)


def _chance_pairs(draws: Array, precision: float) -> float:
    """At most how many pairs of n independent entries are proportional in D draws: n^2 / 2 q^(D - 1), for values that
    coincide with probability q (by Cauchy and Schwarz)."""
    _, counts = np.unique(draws, return_counts=True)
    number = float(draws.size)
    rate = max(16 * precision, float(np.sum(counts * (counts - 1.0))) / (number * (number - 1)))
    return float(draws.shape[1] ** 2 / 2 * min(rate, 1.0) ** (len(draws) - 1))


def repeated(layer: LayerDraws) -> str | None:
    """Numbers that occur again in one draw, up to sign."""
    if layer.count < FEWEST or of_one_size(layer) or not (repeats := _repeats(layer)):
        return _tied_channels(layer)
    return (
        f"tied weights: {repeats} of {layer.sample[0].size} entries that were looked at repeat another one up to sign, so "
        "their paths are not independent; give a factory if the weights are drawn independently from a few values"
    )


def _repeats(layer: LayerDraws) -> int:
    """How many sizes occur again in one draw, 0 where rounding explains them."""
    values = layer.sample[0].ravel()
    repeats = values.size - len(layer.sizes)
    return repeats if repeats and pdtrc(repeats - 1, values.size**2 / 2 * layer.precision) < LEAST_CHANCE else 0


def _tied_channels(layer: LayerDraws) -> str | None:
    """Whole rows or columns that are copies, in layers too large to look at every entry."""
    if layer.count == layer.sample[0].size:
        return None
    for what, axis in (("first", 0), ("second", 1)):
        sums = np.abs(_mixed(layer.first, axis))
        order = np.argsort(sums)
        near = np.flatnonzero(np.diff(sums[order]) <= 1e-5 * sums[order][1:])
        pairs = zip(order[near], order[near + 1], strict=True)
        copies = [(a, b) for a, b in pairs if _copied(*(np.take(layer.first, i, axis).ravel() for i in (a, b)))]
        if copies:
            a, b = sorted(map(int, copies[0]))
            return (
                f"tied weights: along the {what} axis of its weight {len(copies)} channels repeat another one ({b} repeats "
                f"{a}), so their paths are not independent; draw them independently"
            )
    return None


def _mixed(weight: Array, axis: int) -> Array:
    """sum w r over all but one of the first two axes of (out, in, *taps), with random numbers r; without a copy of w."""
    across, taps = weight.shape[axis], prod(weight.shape[2:])
    numbers = _normal(weight.size // across).astype(weight.dtype)
    if axis == 0:
        return np.asarray(weight.reshape(across, -1) @ numbers)
    if taps > FEW_TAPS:
        return np.asarray(np.moveaxis(weight, 1, 0).reshape(across, -1) @ numbers)
    products = numbers.reshape(-1, taps).T @ weight.reshape(len(weight), -1)  # those of each tap with each
    return np.einsum("tit->i", products.reshape(taps, across, taps))


@lru_cache(maxsize=32)
def _normal(size: int) -> Array:
    """Random numbers, the same each time."""
    return np.random.default_rng(0).normal(size=size)


def _copied(a: Array, b: Array) -> bool:
    return a.size >= FEWEST and bool(np.any(a)) and (np.array_equal(a, b) or np.array_equal(a, -b))


def tied_layers(layers: Sequence[LayerDraws]) -> list[str]:
    """Layers whose weights are those of another one, up to order and a factor, or that share some of them."""
    first_use: dict[tuple[str, ...], str] = {}
    draws = min((len(layer.sample) for layer in layers), default=0)
    if draws >= 4:
        columns = [layer.sample[:draws].reshape(draws, -1) for layer in layers]
        owner = np.repeat(np.arange(len(layers)), [part.shape[1] for part in columns])
        together = np.concatenate(columns, axis=1)
        precision = max(layer.precision for layer in layers)
        pairs = owner[_tied_pairs(together, precision)]
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if len(pairs) and pdtrc(len(pairs) - 1, _chance_pairs(together, precision)) < LEAST_CHANCE:
            for a, b in np.unique(np.sort(pairs, axis=1), axis=0):
                first_use[layers[a].name, layers[b].name] = "entries of the one are those of the other times a constant"
    whole = sorted((layer for layer in layers if layer.count >= FEWEST), key=lambda layer: (layer.count, peakedness(layer)))
    for one, other in pairwise(whole):
        if _copies(one, other):
            first_use.setdefault((one.name, other.name), "the same numbers up to order, sign and a factor")
    return [
        f"{a}, {b}: tied weights ({what}), so their paths are not independent; draw them independently"
        for (a, b), what in first_use.items()
    ]


def peakedness(layer: LayerDraws) -> float:
    first = layer.moments[0]
    return first.fourth / float(first.squares.mean()) ** 2 if np.any(first.squares) else 0.0


def _copies(one: LayerDraws, other: LayerDraws) -> bool:
    near = one.count == other.count and abs(peakedness(one) - peakedness(other)) <= 1e-5 * peakedness(one)
    if not near or len(one.sizes) * 2 < one.sample[0].size:
        return False  # of a few different values: all such layers look alike
    a, b = (np.sort(np.abs(layer.first), axis=None).astype(np.float64) for layer in (one, other))
    return bool(np.allclose(a / a.max(), b / b.max(), rtol=0, atol=16 * max(one.precision, other.precision)))


def of_one_size(layer: LayerDraws) -> str | None:
    sizes = np.abs(layer.sample)
    if layer.draws > 1 or sizes.max() > sizes.min() or layer.count == 1:
        return None
    return "one draw of weights that all have one size cannot tell a fixed filter from random signs: give a factory"

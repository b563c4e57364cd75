r"""Are a layer's weights independent draws of mean zero and of one variance? Tests whose false alarms are bounded.

Proposition 1 needs E[w w'] = 0 for every two entries and one E[w^2] = V for all of them; with ReLUs also that w and -w are
equally likely. Over several draws of a factory every entry can be tested for that; in the one draw of a module only what
entries have in common. No test assumes normal weights:

- sums of products. With e_k = +1 or -1 independent signs, P(|sum_k e_k a_k| > t (sum_k a_k^2)^(1/2)) <= 2 exp(-t^2 / 2)
  (Hoeffding) whatever the sizes a_k are: so for means (a = w) and for correlations (a = w w');
- counts of coincidences (an entry that never changes, two entries that agree) against the number that independent draws of
  these values have on average, by Poisson's or the binomial law.

Each of them is wrong with a probability of 2e-9 at most for a layer. Orthogonal weights are uncorrelated and pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy.special import chdtrc, pdtrc, stdtr, xlogy

from landscape.assumptions import listed
from landscape.weight_draws import Array, LayerDraws, Moments, pooled

__all__ = ["centred", "doubts_about", "problem_with", "tied_layers", "undecided"]

ROUNDING = 1e-12
LEAST_CHANCE = 2e-9  # what independent weights do less often than this is not chance
FEWEST = 30  # that many signs all alike are rarer than that: of fewer weights nothing can be said
MOST_AXES = 256  # rows, columns, taps or entries that are correlated with each other
INSTEAD = (
    "give a freshly initialised model, or initialisation=: a scheme such as 'he', or 'weights' for these as they are"
)  # fmt: skip


def problem_with(layer: LayerDraws) -> str | None:
    """What tells these weights from independent ones of mean zero and one variance, by layer name, if anything does."""
    if not np.any(layer.first) and (layer.draws == 1 or (layer.same is not None and layer.same.all())):
        return None  # a layer that starts at zero lets nothing through, and V = 0 says so
    tests = (_masked, _off_centre, _uneven, _repeated) if layer.draws == 1 else (_frozen, _tied, _off_centre, _uneven)
    for test in (*tests, _shifted, _correlated):
        if problem := test(layer):
            return f"{layer.name}: {problem}"
    return None


def undecided(layer: LayerDraws) -> bool:
    """Are there entries that never changed so far, too few to say that this is no chance?"""
    return layer.same is not None and _chance_of_same(layer) >= LEAST_CHANCE


def doubts_about(layers: Sequence[LayerDraws]) -> list[str]:
    """What these draws cannot tell of layers without a problem: each forbids to call the law exact."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        if not np.any(layer.first):
            continue
        for test in (_too_few, _of_one_size, _sparse, _uneven_channels):
            if doubt := test(layer):
                found.setdefault(doubt, []).append(layer.name)
                break
    return [f"{doubt} ({listed(names)})" for doubt, names in found.items()]


# --- entries that do not change, or are zero ------------------------------------------------------------------------------


def _frozen(layer: LayerDraws) -> str | None:
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


def _masked(layer: LayerDraws) -> str | None:
    """The zeros of one draw: a continuous law has next to none."""
    zeros = layer.first == 0
    number = int(np.count_nonzero(zeros))
    repeated = _repeats(layer)
    chance = float(pdtrc(max(number - 1, 0), layer.count * layer.precision)) if number else 1.0
    few = len(np.unique(layer.sample[0])) <= layer.count // 2
    if layer.fixed and (chance < LEAST_CHANCE or (repeated and few)):
        return (
            f"its {layer.count} weights ask for no gradient and repeat a few numbers, a fixed filter and no random weights; a "
            "positive averaging filter can be a buffer instead of a parameter; or give the network without it"
        )
    if chance < LEAST_CHANCE:
        return (
            f"its weights are masked, sparse or a fixed filter: {_where(zeros)} are exactly zero, and such a layer has no rule "
            "yet; give a factory if they are drawn anew, or initialisation= for the layer without its mask"
        )
    return None


def _where(zeros: Array) -> str:
    """How many entries of a weight, and at which taps where that says it all."""
    number, taps = int(zeros.sum()), zeros.reshape(*zeros.shape[:2], -1).all(axis=(0, 1))
    text = f"{number} of its {zeros.size} entries"
    if zeros.ndim > 2 and number == taps.sum() * zeros.size // taps.size:
        places = [str(tuple(map(int, np.unravel_index(i, zeros.shape[2:])))) for i in np.flatnonzero(taps)]
        return f"{text}, all those at the taps {listed(places)},"
    return text


def _chance_of_same(layer: LayerDraws) -> float:
    """A bound on the chance of so many unchanged entries: a binomial one, from how often these values coincide anyway."""
    assert layer.same is not None
    share = float(layer.same.mean())
    _, counts = np.unique(layer.sample, return_counts=True)
    rate = float(np.sum((counts / counts.sum()) ** layer.draws))
    if share <= rate:
        return 1.0
    exponent = xlogy(share, share / rate) + xlogy(1 - share, (1 - share) / (1 - rate))
    return float(np.exp(-layer.count * exponent))


# --- entries that are tied ------------------------------------------------------------------------------------------------


def _tied(layer: LayerDraws) -> str | None:
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


def _repeated(layer: LayerDraws) -> str | None:
    """Numbers that occur again in one draw, up to sign."""
    if layer.count < FEWEST or _of_one_size(layer) or not (repeats := _repeats(layer)):
        return _tied_channels(layer)
    return (
        f"tied weights: {repeats} of {layer.sample[0].size} entries that were looked at repeat another one up to sign, so "
        "their paths are not independent; give a factory if the weights are drawn independently from a few values"
    )


def _repeats(layer: LayerDraws) -> int:
    """How many sizes occur again in one draw, 0 where rounding explains them."""
    values = layer.sample[0].ravel()
    repeats = values.size - len(np.unique(np.abs(values)))
    return repeats if repeats and pdtrc(repeats - 1, values.size**2 / 2 * layer.precision) < LEAST_CHANCE else 0


def _tied_channels(layer: LayerDraws) -> str | None:
    """Whole rows or columns that are copies, in layers too large to look at every entry."""
    if layer.count == layer.sample[0].size:
        return None
    for what, axis in (("first", 0), ("second", 1)):
        rows = np.moveaxis(layer.first, axis, 0).reshape(layer.first.shape[axis], -1)
        sums = np.abs(rows @ np.random.default_rng(0).normal(size=rows.shape[1]).astype(rows.dtype))
        order = np.argsort(sums)
        near = np.flatnonzero(np.diff(sums[order]) <= 1e-5 * sums[order][1:])
        copies = [(a, b) for a, b in zip(order[near], order[near + 1], strict=True) if _proportional(rows[a], rows[b])]
        if copies:
            a, b = sorted(map(int, copies[0]))
            return (
                f"tied weights: along the {what} axis of its weight {len(copies)} channels repeat another one ({b} repeats "
                f"{a}), so their paths are not independent; draw them independently"
            )
    return None


def _proportional(a: Array, b: Array) -> bool:
    return a.size >= FEWEST and bool(np.any(a)) and bool(np.array_equal(np.abs(a), np.abs(b)))


def tied_layers(layers: Sequence[LayerDraws]) -> list[str]:
    """Layers whose weights are those of another one, up to order and a factor, or that share some of them."""
    found: dict[tuple[str, ...], str] = {}
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
                found[layers[a].name, layers[b].name] = "entries of the one are those of the other times a constant"
    whole = sorted((layer for layer in layers if layer.count >= FEWEST), key=lambda layer: (layer.count, _peakedness(layer)))
    for one, other in pairwise(whole):
        if _copies(one, other):
            found.setdefault((one.name, other.name), "the same numbers up to order, sign and a factor")
    return [
        f"{a}, {b}: tied weights ({what}), so their paths are not independent; draw them independently"
        for (a, b), what in found.items()
    ]


def _peakedness(layer: LayerDraws) -> float:
    first = layer.moments[0]
    return first.fourth / float(first.squares.mean()) ** 2 if np.any(first.squares) else 0.0


def _copies(one: LayerDraws, other: LayerDraws) -> bool:
    near = one.count == other.count and abs(_peakedness(one) - _peakedness(other)) <= 1e-5 * _peakedness(one)
    if not near or len(np.unique(np.abs(one.sample[0]))) * 2 < one.sample[0].size:
        return False  # of a few different values: all such layers look alike
    a, b = (np.sort(np.abs(layer.first), axis=None).astype(np.float64) for layer in (one, other))
    return bool(np.allclose(a / a.max(), b / b.max(), rtol=0, atol=16 * max(one.precision, other.precision)))


# --- means, variances, correlations ---------------------------------------------------------------------------------------


def _off_centre(layer: LayerDraws) -> str | None:
    weights = pooled(layer.moments)
    if centred(weights):
        return None
    error = weights.deviation / np.sqrt(weights.count)
    return (
        f"the mean of its {weights.count} weights is {weights.mean:.3g}, not zero (standard error {error:.3g}; trained "
        f"weights?); {INSTEAD}"
    )


def centred(values: Moments) -> bool:
    """Is the mean zero, by Student's t? All zeros are; one value alone cannot tell and passes."""
    freedom = values.count - 1
    if freedom < 1:
        return True
    if values.deviation == 0:
        return values.mean == 0
    return bool(2 * stdtr(freedom, -abs(values.mean) / values.deviation * np.sqrt(freedom)) >= LEAST_CHANCE)


def _uneven(layer: LayerDraws) -> str | None:
    weights = pooled(layer.moments)
    if even(weights.squares, weights.count // weights.squares.size, weights.fourth):
        return None
    return f"the variance of its weights differs from tap to tap (trained weights?); {INSTEAD}"


def even(squares: Array, count: int, fourth: float) -> bool:
    """Are these second moments of `count` weights each the same? By chi squared, its freedom from the squares' own spread."""
    mean = squares.mean()
    spread = fourth - mean**2
    if count < 100 or spread <= ROUNDING * mean**2:
        return True  # too few weights to tell, or all of one size
    freedom = 2 * count * mean**2 / spread
    tail = chdtrc(freedom, freedom * squares / mean)
    return bool(2 * np.minimum(tail, 1 - tail).min() * tail.size >= LEAST_CHANCE)


def _axes(layer: LayerDraws) -> list[tuple[str, Array]]:
    """The sampled weights along each axis, (places, numbers at each), divided by the largest."""
    sample = layer.sample / np.abs(layer.sample).max()
    names = ["draws", "channels of the first axis", "channels of the second axis", "taps"]
    found = [
        (name, np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1))
        for axis, name in enumerate(names)
        if sample.shape[axis] > 1
    ]
    return [*found, ("entries", sample.reshape(len(sample), -1).T)]


def _bound(tests: float) -> float:
    """The t at which 2 exp(-t^2 / 2) is the least chance, over as many tests."""
    return float(np.sqrt(2 * np.log(2 * tests / LEAST_CHANCE)))


def _shifted(layer: LayerDraws) -> str | None:
    """A mean at one tap, channel or entry: each sum is compared with the root of the sum of its squares."""
    for name, numbers in _axes(layer)[layer.draws > 1 :]:
        size = np.sqrt(np.sum(numbers**2, axis=1))
        ratios = np.abs(numbers.sum(axis=1)) / np.where(size > 0, size, np.inf)
        if ratios.max() > _bound(len(ratios)):
            return (
                f"the mean of its weights is not zero at some {name} (largest: {ratios.max():.1f} standard errors); {INSTEAD}"
            )
    return None


def _correlated(layer: LayerDraws) -> str | None:
    """Correlations between taps, between channels, between entries, and a part that all draws have in common."""
    for name, numbers in _axes(layer):
        some = numbers[:MOST_AXES]
        if len(some) < 2 or (name == "entries" and len(some) < len(numbers)):
            continue
        products, squares = some @ some.T, some**2 @ (some**2).T
        ratios = np.triu(np.abs(products) / np.sqrt(np.where(squares > 0, squares, np.inf)), 1)
        if ratios.max() > _bound(len(some) * (len(some) - 1) / 2):
            a, b = np.unravel_index(int(ratios.argmax()), ratios.shape)
            size = products[a, b] / np.sqrt(products[a, a] * products[b, b])
            what = "have a part that is the same in every draw" if name == "draws" else f"are correlated between {name}"
            return f"its weights {what} ({size:+.2f} between {a} and {b}; trained, or drawn with a structure?); {INSTEAD}"
    return _signs_alike(layer)


def _signs_alike(layer: LayerDraws) -> str | None:
    """Entries whose sign never changes, of which there are n 2^(1 - D) by chance in D draws."""
    sample = layer.sample
    alike = int(np.sum(np.all(sample > 0, axis=0) | np.all(sample < 0, axis=0)))
    if not alike or pdtrc(alike - 1, sample[0].size * 2.0 ** (1 - len(sample))) >= LEAST_CHANCE:
        return None
    return f"{alike} of {sample[0].size} weights have the same sign in each of {len(sample)} draws; {INSTEAD}"


# --- doubts ---------------------------------------------------------------------------------------------------------------

Doubt = Callable[[LayerDraws], "str | None"]


def _too_few(layer: LayerDraws) -> str | None:
    if layer.count * layer.draws >= FEWEST:
        return None
    drawn = "one draw" if layer.draws == 1 else f"{layer.draws} draws"
    return (
        f"{drawn} of fewer than {FEWEST} weights cannot tell whether they are independent and zero on average: give a factory, "
        "or initialisation="
    )


def _of_one_size(layer: LayerDraws) -> str | None:
    sizes = np.abs(layer.sample)
    if layer.draws > 1 or sizes.max() > sizes.min() or layer.count == 1:
        return None
    return "one draw of weights that all have one size cannot tell a fixed filter from random signs: give a factory"


def _sparse(layer: LayerDraws) -> str | None:
    share = float(np.mean(layer.sample == 0))
    number = share * layer.sample.size
    if layer.draws == 1 or not number or pdtrc(number - 1, layer.sample.size * layer.precision) >= LEAST_CHANCE:
        return None
    return f"sparse weights: {share:.0%} of them are zero, and a gate above zeros alone is shut"


def _uneven_channels(layer: LayerDraws) -> str | None:
    for name, numbers in _axes(layer):
        if name.startswith("channels") and not even(np.mean(numbers**2, axis=1), numbers.shape[1], float(np.mean(numbers**4))):
            return f"the variance of the weights differs between {name} of the weight: its mean is used"
    return None

r"""Are a layer's weights independent draws of mean zero and of one variance? Tests whose false alarms are bounded.

Proposition 1 needs E[w w'] = 0 for every two entries and one E[w^2] = V for all of them; with ReLUs also that w and -w are
equally likely. Over several draws of a factory every entry can be tested for that; in the one draw of a module only what
entries have in common. No test assumes normal weights:

- sums of products. With e_k = +1 or -1 independent signs, P(|sum_k e_k a_k| > t (sum_k a_k^2)^(1/2)) <= 2 exp(-t^2 / 2)
  (Hoeffding) whatever the sizes a_k are: so for means (a = w) and for correlations (a = w w');
- ranks of sizes: every order of the |w| of a layer is equally likely, so how many of the largest stand at one tap is
  hypergeometric;
- counts of coincidences (`landscape.weights.fixed_weights`; sums that are zero) against the number that independent draws of
  these values have on average, by Poisson's or the binomial law.

Each of them is wrong with a probability of 2e-9 at most for a layer. Orthogonal weights are uncorrelated and pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from scipy.special import bdtrc, chdtrc, pdtrc, stdtr
from scipy.stats import hypergeom

from landscape.weights.fixed_weights import frozen, masked, of_one_size, peakedness, repeated, tied
from landscape.weights.weight_draws import AXES, FEWEST, LEAST_CHANCE, Array, LayerDraws, Moments, pooled
from lattice.errors import listed

__all__ = ["centred", "doubts_about", "problem_with"]

ROUNDING = 1e-12
SMALL = 1 << 14  # numbers, below which ranks are looked at
NEAR_ZERO = 1e-3  # a normalised sum of independent continuous weights is so small with about that probability
MOST_AXES = 256  # rows, columns, taps or entries that are correlated with each other
INSTEAD = (
    "give a freshly initialised model, or initialisation=: a scheme such as 'he', or 'weights' for these as they are"
)  # fmt: skip


def problem_with(layer: LayerDraws) -> str | None:
    """What tells these weights from independent ones of mean zero and one variance, by layer name, if anything does."""
    if layer.vanishes and (layer.draws == 1 or (layer.same is not None and layer.same.all())):
        return None  # a layer that starts at zero lets nothing through, and V = 0 says so
    first = (masked, _off_centre, _uneven, repeated) if layer.draws == 1 else (frozen, tied, _off_centre, _uneven)
    for test in (*first, _shifted, _ranked, _correlated, _balanced):
        if problem := test(layer):
            return f"{layer.name}: {problem}"
    return None


def doubts_about(layers: Sequence[LayerDraws]) -> list[str]:
    """What these draws cannot tell of layers without a problem: each forbids to call the law exact."""
    by_doubt: dict[str, list[str]] = {}
    for layer in layers:
        if layer.vanishes:
            continue
        for test in (_too_few, of_one_size, _peaked, _sparse, _uneven_channels):
            if doubt := test(layer):
                by_doubt.setdefault(doubt, []).append(layer.name)
                break
    return [*(f"{doubt} ({listed(names)})" for doubt, names in by_doubt.items()), *_partly_fixed(layers)]


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


def _bound(tests: float) -> float:
    """The t at which 2 exp(-t^2 / 2) is the least chance, over as many tests."""
    return float(np.sqrt(2 * np.log(2 * tests / LEAST_CHANCE)))


def _shifted(layer: LayerDraws) -> str | None:
    """A mean at one tap, channel or entry: each sum is compared with the root of the sum of its squares."""
    for name, numbers in layer.along_axes[layer.draws > 1 :]:
        size = np.sqrt(np.sum(numbers**2, axis=1))
        ratios = np.abs(numbers.sum(axis=1)) / np.where(size > 0, size, np.inf)
        if ratios.max() > _bound(len(ratios)):
            return (
                f"the mean of its weights is not zero at some {name} (largest: {ratios.max():.1f} standard errors); {INSTEAD}"
            )
    return None


def _correlated(layer: LayerDraws) -> str | None:
    """Correlations between taps, between channels, between entries, and a part that all draws have in common."""
    for name, numbers in layer.along_axes:
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


def _ranked(layer: LayerDraws) -> str | None:
    """A tap or an entry that has too many of the layer's largest, or of its smallest, weights: where squares are too few."""
    if layer.sample.size > SMALL:
        return None
    for name, numbers in layer.along_axes:
        if name not in ("taps", "entries") or len(numbers) < 2 or numbers.shape[1] < 2:
            continue
        sizes = np.abs(numbers)
        for what, signed in (("largest", sizes), ("smallest", -sizes)):
            least = np.partition(signed, -numbers.shape[1], axis=None)[-numbers.shape[1]]
            among = np.sum(signed > least, axis=1)
            if among.max() <= among.mean() + 5 * np.sqrt(among.mean()):
                continue  # of no test at this level
            chances = hypergeom.sf(among - 1, signed.size, among.sum(), numbers.shape[1])
            if chances.min() * len(chances) * 2 < LEAST_CHANCE:
                rarest = int(chances.argmin())
                return (
                    f"the variance of its weights differs between {name}: {among[rarest]} of the {among.sum()} {what} ones are "
                    f"those of {rarest} (trained weights?); {INSTEAD}"
                )
    return None


def _balanced(layer: LayerDraws) -> str | None:
    """Weights that sum to zero over taps or channels: filters from which the mean was taken away."""
    if layer.count > layer.sample[0].size:
        return _balanced_whole(layer)
    sample = layer.sample / np.abs(layer.sample).max()
    axes = [axis for axis in (1, 2, 3) if sample.shape[axis] > 1]
    for summed in (*combinations(axes, 1), *combinations(axes, 2)):
        ratios = _ratios(sample, summed)
        alike = int(np.sum(ratios <= NEAR_ZERO))
        if not alike or bdtrc(alike - 1, ratios.size, 2 * NEAR_ZERO) >= LEAST_CHANCE:
            continue
        rng = np.random.default_rng(0)  # sums of weights of one size are zero by chance: how often, random signs say
        flipped = [_ratios(sample * rng.choice([-1.0, 1.0], sample.shape), summed) <= NEAR_ZERO for _ in range(8)]
        chance = float(np.mean(flipped))
        if bdtrc(alike - 1, ratios.size, min(2 * (chance + NEAR_ZERO), 1.0)) < LEAST_CHANCE:
            return _balanced_over(" and ".join(AXES[axis] for axis in summed), alike, ratios.size)
    return None


def _ratios(sample: Array, summed: tuple[int, ...]) -> Array:
    """|sum w| / (sum w^2)^(1/2) over some axes, where there is anything but zeros."""
    sums, size = np.abs(np.sum(sample, axis=summed)), np.sqrt(np.sum(sample**2, axis=summed))
    ratios: Array = sums[size > 0] / size[size > 0]
    return ratios


def _balanced_whole(layer: LayerDraws) -> str | None:
    """The sums over whole channels of a layer too large to sample all of it."""
    weight, size = layer.first, np.sqrt(layer.moments[0].squares.mean())
    matrix = weight.reshape(len(weight), -1)
    along = (
        (2, matrix @ np.ones(matrix.shape[1], matrix.dtype)),
        (1, (np.ones(len(matrix), matrix.dtype) @ matrix).reshape(weight.shape[1], -1).sum(axis=1)),
    )
    for axis, sums in along:
        alike = int(np.sum(np.abs(sums) <= NEAR_ZERO * size * np.sqrt(weight.size / sums.size)))
        # numbers of one size, some thousands in each sum, add to zero with a probability of a few hundredths at most
        if alike and bdtrc(alike - 1, sums.size, max(2 * NEAR_ZERO, np.sqrt(sums.size / weight.size))) < LEAST_CHANCE:
            return _balanced_over(f"{AXES[axis]} and taps", alike, sums.size)
    return None


def _balanced_over(axes: str, alike: int, number: int) -> str:
    return f"its weights sum to zero over {axes} ({alike} of {number} sums), so they are correlated; {INSTEAD}"


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


def _peaked(layer: LayerDraws) -> str | None:
    """A few weights that carry much: normal ones have m4 / m2^2 > 10 only where one lies beyond six deviations."""
    squares = np.square(layer.sample[0])
    large = float(squares[squares > 9 * squares.mean()].sum())
    if layer.draws > 1 or peakedness(layer) <= 10 or large <= 0.1 * squares.sum():
        return None
    return "a few weights far larger than the others: one draw cannot tell them from a fixed part: give a factory"


def _partly_fixed(layers: Sequence[LayerDraws]) -> list[str]:
    """Layers that ask for no gradient among others that do: one draw cannot tell whether they were drawn."""
    fixed = [layer.name for layer in layers if layer.fixed and layer.draws == 1]
    if not fixed or len(fixed) == len(layers):
        return []
    return [f"weights that ask for no gradient: one draw cannot tell a fixed filter from a drawn one ({listed(fixed)})"]


def _sparse(layer: LayerDraws) -> str | None:
    share = float(np.mean(layer.sample == 0))
    number = share * layer.sample.size
    if layer.draws == 1 or not number or pdtrc(number - 1, layer.sample.size * layer.precision) >= LEAST_CHANCE:
        return None
    return f"sparse weights: {share:.0%} of them are zero, and a gate above zeros alone is shut"


def _uneven_channels(layer: LayerDraws) -> str | None:
    for name, numbers in layer.along_axes:
        squares = np.square(numbers)
        fourth = float(np.vdot(squares, squares)) / squares.size
        if name.startswith("channels") and not even(squares.mean(axis=1), squares.shape[1], fourth):
            return f"the variance of the weights differs between {name} of the weight: its mean is used"
    return None

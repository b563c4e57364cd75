r"""What a max-pool reads as a Gaussian field, and what the mean field and the path laws need of its maximum.

The largest of a function that rises is the function of the largest. Other values that are never negative are taken as rectified
Gaussians with their moments, the rest as Gaussians.
"""

from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.averaging import pointwise, ratio
from landscape.gates.forward.alike_maxima import SURE, check_sizes_of
from landscape.gates.forward.covariances import Product, both_slopes, by_run
from landscape.gates.forward.signal import Run, Signal, gaussian
from landscape.gates.rising import Rising, over_gaussian, rising, rising_activation
from landscape.gates.windows.far_windows import pairs_of_slopes, pairs_of_windows
from landscape.gates.windows.largest import Largest
from landscape.gates.windows.pairs_of_winners import Winners
from landscape.gates.windows.pools import MOST_CELLS, Field, Maximum, at_codes, windows
from landscape.gates.windows.rectified import gaussian_below, gaussians_below
from landscape.gates.windows.simulation.overlapping import Simulated
from landscape.structure.arrays import at_pairs, on_diagonal
from landscape.structure.plan import Axes
from landscape.structure.signs import Sign, Steps
from lattice import Activation, AssumptionError, UnsupportedError

__all__ = ["check_few", "check_sizes", "fields", "maximum", "pairs_of_maxima", "winners_of_pairs"]

Array = np.ndarray[Any, Any]
TAIL = float(ndtr(-2.5))  # see `landscape.gates.gate_rates`
LEAST = 4e-5  # P(z > 2.5)^2: see `landscape.gates.gate_rates`
IDENTITY, RELU = (rising_activation(Activation(name)) for name in ("identity", "relu"))


def check_few(op: Maximum, spatial: tuple[int, ...]) -> None:
    """Refuse windows of so many cells that not all pairs of them can be looked at."""
    cells = int(np.prod([window.taps(n) for window, n in zip(op.windows(spatial), spatial, strict=True)]))
    if cells > MOST_CELLS:
        raise UnsupportedError(f"windows of {cells} cells have too many pairs of them, {MOST_CELLS} cells being the most")


def fields(signal: Signal, product: Product, signs: tuple[Sign, ...], run: Run | None, base: Product | None) -> list[Field]:
    """The Gaussian field of each run of channels that a maximum reads.

    `signal` and `product` are its moments; `run` says of which signal, whose products are `base`, it is a function.
    """
    known = None if run is None or base is None else _of_run(run, base, product.axes)
    if known is not None:
        return known
    plain, rectified = _gaussian(signal, product, product.axes), _rectified(signal, product)
    chosen = [(rectified, RELU) if sign is Sign.NONNEGATIVE else (plain, IDENTITY) for sign in signs]
    return [
        _field((part[place] for part in laws), product.axes, function, function is RELU)
        for place, (laws, function) in enumerate(chosen)
    ]


def _of_run(run: Run, base: Product, axes: Axes) -> list[Field] | None:
    """The Gaussian below a run that rises, and that function; None where it does not rise."""
    form, below = over_gaussian(run.form)
    laws = _gaussian(run.base, base, axes)
    for name in below:
        laws = _affine(laws, [by_run(part, base.runs) for part in run.affine[name]], axes)
    found = []
    for mean, variance, shared, covariance in zip(*laws, strict=True):
        known = rising(form, run.affine, mean, variance)
        if known is None:
            return None
        function, falls = known
        found.append(_field((-mean if falls else mean, variance, shared, covariance), axes, function, False))
    return found


def _affine(laws: tuple[Array, ...], affine: list[Array], axes: Axes) -> tuple[Array, ...]:
    """The laws of coefficient * z + shift."""
    (mean, variance, shared, covariance), (coefficient, shift) = laws, affine
    left, right = at_pairs(coefficient, axes)
    return coefficient * mean + shift, coefficient**2 * variance, coefficient**2 * shared, left * right * covariance


def _field(law: Any, axes: Axes, function: Rising, fitted: bool) -> Field:
    mean, variance, shared, covariance = law
    field = Field(mean, variance, shared, covariance, axes, function, fitted)
    if not all(np.isfinite(part).all() for part in field[:4]):
        raise UnsupportedError("the moments of its cells are not finite")
    return field


def _gaussian(signal: Signal, product: Product, axes: Axes) -> tuple[Array, ...]:
    """Mean, variance, covariance between inputs and covariance at pairs, for each run."""
    mean, variance, correlation = (by_run(part, product.runs) for part in gaussian(signal))
    left, right = at_pairs(mean, axes)
    return mean, variance, correlation * variance, product.at(axes) - left * right


def _rectified(signal: Signal, product: Product) -> tuple[Array, ...]:
    """The same of the Gaussians whose positive parts have these moments."""
    power, cross, first = (by_run(part, product.runs) for part in signal)
    mean, variance = gaussian_below(first, power)
    means, variances = at_pairs(mean, product.axes), at_pairs(variance, product.axes)
    shared = gaussians_below(cross, (mean, mean), (variance, variance))
    return mean, variance, shared, gaussians_below(product.at(product.axes), means, variances)


def maximum(op: Maximum, read: list[Field], laws: list[Largest], channels: tuple[int, ...]) -> tuple[Signal, Array]:
    """The moments of a maximum, and how often each tap passes its gradient, divided by how often the gate below is open.

    Signals over (channels or 1, *outputs), rates (taps, channels or 1, *outputs); `channels` counts those of each run.
    """
    rates = [_per_gate(op, field, law.wins) for field, law in zip(read, laws, strict=True)]
    share = float(np.mean([np.mean(rate.sum(axis=0)) for rate in rates]))
    if 0 < share < LEAST:
        raise AssumptionError(
            f"it would pass {share:.1g} of what the gates below it pass on average, which is a tail that the size of the "
            'signal does not tell; make their factors or shifts smaller, or count with gates="measured"'
        )

    moving = [~_at_taps(op, field, field.fixed) & (law.picked > 0) for field, law in zip(read, laws, strict=True)]
    won = float(np.mean([np.sum(law.picked * part, axis=0).mean() for part, law in zip(moving, laws, strict=True)]))
    cells = float(np.mean([part.sum(axis=0).mean() for part in moving]))
    if 0 < won < min(TAIL * cells, 1 / 2):
        raise AssumptionError(
            f"cells that are the same for all inputs nearly always win: the others do so {won:.1g} of the time for Gaussian "
            "values, which is a tail that the size of the signal does not tell; make the constants smaller, or count with "
            'gates="measured"'
        )

    def each(parts: list[Array], axis: int = 0) -> Array:
        stacked = np.stack(parts, axis)
        return stacked if len(parts) == 1 else np.repeat(stacked, channels, axis)

    signal = Signal(each([law.second for law in laws]), each([law.shared for law in laws]), each([law.first for law in laws]))
    return signal, each(rates, 1)


def check_sizes(op: Maximum, read: list[Field], laws: list[Largest], few: float) -> None:
    """Refuse a maximum over saturating gates whose winner passes a tail for Gaussian cells, and more for sums of few weights.

    Of cells w u with F weights w the size |w| differs between draws, |w|^2 / E|w|^2 = S being chi2_F / F. With g(c) what the
    winner passes where all cells are c times as large, the mean is E[S g(S^1/2)] and not g(1): where g falls fast, that of the
    draws whose cells are small.
    """
    passed = float(np.mean([law.wins.sum(axis=0).mean() for law in laws]))
    if not 0 < passed < SURE or any(field.function.slopes is not None or field.function.turn is not None for field in read):
        return
    check_sizes_of(lambda c: float(np.mean([windows(op, _times(field, c), 0).wins.sum(axis=0).mean() for field in read])), few)


def _times(field: Field, c: float) -> Field:
    mean, variance, shared, covariance = field[:4]
    return field._replace(mean=c * mean, variance=c**2 * variance, shared=c**2 * shared, covariance=c**2 * covariance)


def _per_gate(op: Maximum, field: Field, wins: Array) -> Array:
    """wins / E[f'^2] at the cell that each tap reads."""
    return ratio(wins, _at_taps(op, field, field.function.moments(field.mean, field.variance, np.zeros(()))[3]))


def _at_taps(op: Maximum, field: Field, values: Array) -> Array:
    """Values (*spatial) at the cell that each tap reads, (taps, *outputs); of a tap that reads none, any."""
    spatial = tuple(map(len, field.copies)) if field.copies else field.mean.shape
    tables = [window.table(n) for window, n in zip(op.windows(spatial), spatial, strict=True)]
    if field.copies:  # taps that read one cell all have its gate
        tables = [source[np.maximum(table, 0)] for table, source in zip(tables, field.copies, strict=True)]
    taps = np.ndindex(*(len(table) for table in tables))
    rows = [[np.maximum(table[k], 0) for table, k in zip(tables, tap, strict=True)] for tap in taps]
    return np.stack([values[np.ix_(*each)] for each in rows])


def pairs_of_maxima(op: Maximum, read: list[Field], laws: list[Largest], seen: list[Simulated | None], axes: Axes) -> Array:
    """E[M M'] of the maxima at these pairs, (runs, *pairs)."""
    parts = zip(read, laws, seen, strict=True)
    found = np.stack([pairs_of_windows(op, field, law, one, axes) for field, law, one in parts])
    return np.where(on_diagonal(axes), at_pairs(np.stack([law.second for law in laws]), axes)[0], found)


def winners_of_pairs(
    op: Maximum,
    read: list[Field],
    laws: list[Largest],
    seen: list[Simulated | None],
    axes: tuple[Axes, Axes],
    runs: tuple[int, ...],
) -> Winners | None:
    """Which cells win two windows and how often both pass, at the pairs `axes` above and below; None where no law tells."""
    if any(field.function.slopes is None for field in read):
        return None
    wins, both, below = [], [], []
    for field, law, one in zip(read, laws, seen, strict=True):
        found = None if one is None else one.winners()
        if one is None or found is None:
            return None
        wins.append(found)
        both.append(pairs_of_slopes(op, field, law, one, axes[0]))
        below.append(_slopes_below(field.copied(), axes[1]))
    return Winners(np.stack(wins), np.stack(both), np.stack(below), runs)


def _slopes_below(field: Field, axes: Axes) -> Array:
    """E[f'(a) f'(a')] of the cells at pairs of them."""
    means, variances = at_pairs(field.mean[None], axes), at_pairs(field.variance[None], axes)
    covariance = at_codes(field.covariance, field.axes, [pairs.codes for pairs in axes])[None]
    between = np.clip(ratio(covariance, np.sqrt(variances[0] * variances[1])), -1, 1)
    between = np.where(on_diagonal(axes), 1.0, between)
    laws = (means[0], variances[0], means[1], variances[1], between)
    assert field.function.slopes is not None
    down, up = field.function.slopes
    return np.asarray(pointwise(partial(both_slopes, Steps(down, (0.0,), (up - down,))), *laws)[0][0])

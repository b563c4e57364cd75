"""Studies: error against draws, and the command that runs any of the studies and writes its table and figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lattice import SpecificationError
from validation.studies.ladders import Net, measured, predicted
from validation.studies.table import Fit, Series, Table, fit_power, provenance

__all__ = ["error_against_draws"]

Array = np.ndarray[Any, Any]


def error_against_draws(
    net: Net, draws: Sequence[int] = (100, 300, 1000, 3000), *, repeats: int = 12, seed: int = 0, device: str = "auto"
) -> Table:
    """rms(r - p) against the number n of draws: b / sqrt(n) until the model's own error, the floor.

    rms^2 = floor^2 + b^2 / n is fitted to the means over `repeats` independent runs at each n; on a net whose law is
    exact the floor is 0 and the plain power of n is -1/2. Columns: draws, rms error of the relative map, its standard
    error over the repeats, the noise that `measure` itself states, and the debiased error of the runs together.

    Parameters
    ----------
    net : Net
        A lattice.
    draws : sequence of int
        Ascending numbers.
    repeats : int
        Measurements of each number.
    seed : int
        Of all that is drawn.
    device : str
        "auto", "cpu" or "cuda".

    Returns
    -------
    Table
        A row a number of draws, and the floor.
    """
    if len(set(draws)) < 2 or min(draws) < 10 or repeats < 3:
        raise SpecificationError(
            f"draws is {tuple(draws)}, repeats {repeats}; a curve takes two numbers of draws, 10 at least, and three repeats"
        )
    land = predicted(net)
    p = land.relative
    rows, squares, errors = [], [], []
    for step, count in enumerate(draws):
        runs = [measured(net, count, seed + 1000 * (step + 1) + run, device) for run in range(repeats)]
        distance = np.array([np.mean((run.relative - p) ** 2) for run in runs])
        noise = np.array([np.mean(run.relative_error**2) for run in runs])
        squares.append(float(distance.mean()))
        errors.append(float(distance.std(ddof=1) / np.sqrt(repeats)))
        rms = squares[-1] ** 0.5
        clean = max(float(np.mean(distance - noise)), 0.0) ** 0.5
        rows.append((count, rms, errors[-1] / (2 * rms), float(noise.mean()) ** 0.5, clean))
    (slope, slope_error), (floor, floor_error) = _line(1 / np.asarray(draws, dtype=float), np.array(squares), np.array(errors))
    power = fit_power(draws, squares, errors)
    halved = Fit(
        power.exponent / 2,
        power.exponent_error / 2,
        power.amplitude**0.5,
        power.amplitude_error / (2 * power.amplitude**0.5),
        power.chi_square,
        power.freedom,
    )
    curve = np.geomspace(min(draws), max(draws), 40)
    fitted = np.sqrt(np.maximum(floor + slope / curve, 0))
    x, y, spread = (tuple(row[i] for row in rows) for i in range(3))
    low, high = tuple(np.subtract(y, spread)), tuple(np.add(y, spread))
    return Table(
        title=f"Error against draws ({land.guarantee.name})",
        columns=("draws", "rms error", "standard error", "stated noise", "debiased error"),
        rows=tuple(rows),
        origin=provenance(seed, sum(draws) * repeats, device),
        series=(
            Series("rms error of the measured map", x, y, low, high),
            Series("noise that the runs state", x, tuple(row[3] for row in rows), line=True),
            Series(f"fit: floor {max(floor, 0.0) ** 0.5:.1%}, and 1 / sqrt(draws)", tuple(curve), tuple(fitted), line=True),
        ),
        fits={"rms error as one power of the draws": halved},
        notes=(
            f"floor^2 = {floor:.3g} +- {floor_error:.2g} (a model error of {max(floor, 0.0) ** 0.5:.2%})",
            f"rms^2 falls as {slope:.3g} / draws, +- {slope_error:.2g}",
        ),
        axes=("draws", "relative rms error"),
    )


def _line(x: Array, y: Array, error: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Weighted least squares of y = a x + b: (a, its error), (b, its error)."""
    design = np.stack([x, np.ones_like(x)], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    a, b = covariance @ design.T @ (y / error)
    deviations = np.sqrt(np.diag(covariance))
    return (float(a), float(deviations[0])), (float(b), float(deviations[1]))

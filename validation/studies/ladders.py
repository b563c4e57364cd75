r"""How fast does the truth come to the prediction, as a net grows wide or deep?

Three signed or debiased distances between measured and predicted maps are reported; each is 0 where the law is exact:

    error      relative rms error of the map, the noise taken out (`compare`); cannot be told from 0 below its resolution
    scale      mean measured / mean predicted - 1
    contrast   <r - p, p - 1> / <p - 1, p - 1>: how much more contrast than predicted p the measured r has (both mean one)

Scale and contrast are linear in the measurement, so that they are unbiased, fall below zero as easily as above, and show
an O(1/C) where the squared map error is long under the noise.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from landscape import Landscape, predict
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, SpecificationError, residual
from validation.comparison.compare import compare
from validation.montecarlo.enumerate import enumerated_squared_gradients
from validation.montecarlo.measure import Estimate, measure
from validation.studies.table import Series, Table, fit_power, provenance

__all__ = [
    "Net", "chain_net", "contrast", "depth_ladder", "exact_scale", "ladder", "pooled_net", "preactivation_net", "width_ladder",
]  # fmt: skip

Array = np.ndarray[Any, Any]
Net: TypeAlias = Lattice | tuple[Callable[[], Any], tuple[int, ...]]  # a lattice, or a factory and its input shape
RELU = Activation("relu")
LADDER_COLUMNS = (
    "guarantee", "error", "error low", "error high", "scale - 1", "scale error", "contrast", "contrast error", "verdict",
)  # fmt: skip


def chain_net(depth: int, width: int = 4, size: int = 10) -> Lattice:
    """`depth` zero-padded convolutions with ReLU under a flatten head: Proposition 1 is exact at any width.

    Parameters
    ----------
    depth : int
        Convolutions.
    width : int
        Channels.
    size : int
        Pixels of a side.

    Returns
    -------
    Lattice
        The network's lattice.

    Examples
    --------
    >>> predict(chain_net(2)).guarantee.name
    'EXACT'
    """
    layers = [layer for _ in range(depth) for layer in (Conv(width, 3, padding=1), RELU)]
    return Lattice.chain((1, size), [*layers, Flatten(), Dense(4)])


def pooled_net(depth: int, width: int = 16, size: int = 10) -> Lattice:
    """`depth` zero-padded convolutions with ReLU under a global average pool: gates at different positions share filters.

    Parameters
    ----------
    depth : int
        Convolutions.
    width : int
        Channels.
    size : int
        Pixels of a side.

    Returns
    -------
    Lattice
        The network's lattice.

    Examples
    --------
    >>> predict(pooled_net(2)).guarantee.name
    'APPROXIMATE'
    """
    layers = [layer for _ in range(depth) for layer in (Conv(width, 3, padding=1), RELU)]
    return Lattice.chain((1, size), [*layers, GlobalPool("avg"), Flatten(), Dense(4)])


def preactivation_net(width: int, blocks: int = 3, size: int = 8) -> Lattice:
    """A pre-activation residual ReLU net under a flatten head: exact in the wide limit, O(1/C) above it.

    Parameters
    ----------
    width : int
        Channels.
    blocks : int
        Residual blocks.
    size : int
        Pixels of a side.

    Returns
    -------
    Lattice
        The network's lattice.

    Examples
    --------
    >>> predict(preactivation_net(2)).guarantee.name
    'WIDE_LIMIT'
    """
    body = [residual([RELU, Conv(width, 3, padding=1)]) for _ in range(blocks)]
    return Lattice.chain((1, size), [Conv(width, 3, padding=1), *body, RELU, Conv(width, 3, padding=1), Flatten(), Dense(4)])


def contrast(predicted: Array, estimate: Estimate) -> tuple[float, float]:
    """<r - p, p - 1> / <p - 1, p - 1> and its standard error; NaN for a flat prediction, which has no contrast.

    Parameters
    ----------
    predicted : numpy.ndarray
        p, with mean one.
    estimate : Estimate
        What was measured.

    Returns
    -------
    tuple[float, float]
        The share of the predicted contrast that is measured, and its standard error.
    """
    p = predicted / predicted.mean()
    direction = p - 1
    size = float(np.sum(direction**2))
    if size < 1e-20:
        return float("nan"), float("nan")
    along = (estimate.influence * direction).reshape(len(estimate.blocks), -1).sum(axis=1) / size
    shares = estimate.block_draws / estimate.block_draws.sum()
    count = len(along)
    error = np.sqrt(np.sum(np.square(shares * along)) * count / (count - 1))
    return float(np.sum((estimate.relative - p) * direction) / size), float(error)


def predicted(net: Net) -> Landscape:
    """The prediction of a lattice, or of a factory and its input shape."""
    return predict(net) if isinstance(net, Lattice) else predict(net[0], net[1])


def measured(net: Net, draws: int, seed: int, device: str, *, folder: Path | None = None, progress: bool = False) -> Estimate:
    """The measurement of a lattice, or of a factory and its input shape; an interrupt ends it, whatever it has by then."""
    factory, shape = (net, None) if isinstance(net, Lattice) else net
    estimate = measure(factory, shape, draws=draws, seed=seed, device=device, folder=folder, progress=progress)
    if estimate.interrupted:  # a row of fewer draws than its table says would be none
        raise KeyboardInterrupt
    return estimate


def ladder(
    parameter: str,
    nets: Mapping[int, Net],
    *,
    draws: int = 5000,
    seed: int = 0,
    device: str = "auto",
    tolerance: float = 0.05,
    title: str = "",
) -> Table:
    """Prediction against measurement for a family of nets by one number: error, scale and contrast, each with its error.

    `nets` maps the number (width, depth) to a lattice, or to a factory and the shape of its input; each rung has a root
    seed of its own. The scale and the contrast are fitted by powers of the number, where there are two rungs and more.

    Parameters
    ----------
    parameter : str
        What the number is called.
    nets : Mapping[int, Net]
        The networks by that number.
    draws : int
        Initialisations.
    seed : int
        Of all that is drawn.
    device : str
        "auto", "cpu" or "cuda".
    tolerance : float
        Of the relative error, for the verdict.
    title : str
        Of the table.

    Returns
    -------
    Table
        A row a network.
    """
    if not nets:
        raise SpecificationError(f"no net to climb the ladder of {parameter}s with; give one net per {parameter}")
    rows: list[tuple[Any, ...]] = []
    for step, (value, net) in enumerate(nets.items()):
        land, estimate = predicted(net), measured(net, draws, seed + 1000 * (step + 1), device)
        agreement = compare(land, estimate, tolerance=tolerance)
        scale = (agreement.scale_ratio - 1, agreement.scale_ratio_error)
        verdict = agreement.verdict.name.replace("_", " ")
        error = (agreement.error, *agreement.error_interval)
        rows.append((value, land.guarantee.name, *error, *scale, *contrast(land.squared, estimate), verdict))
    series, fits = [], {}
    for label, place in (("scale - 1", 5), ("contrast", 7)):
        x, y, spread = (np.array([row[i] for row in rows], dtype=float) for i in (0, place, place + 1))
        if not np.isfinite(y).all():
            continue
        # a figure with logarithmic axes shows the side on which most of the values lie
        sign, shown = (1.0, label) if y.sum() > 0 else (-1.0, f"-({label})")
        if len(rows) > 1 and (spread > 0).all():
            fits[shown] = fit_power(x, sign * y, spread)
        ends = (tuple(sign * y), tuple(sign * y - spread), tuple(sign * y + spread))
        series.append(Series(shown, tuple(nets), *ends))
    return Table(
        title=title or f"Prediction and measurement against {parameter}",
        columns=(parameter, *LADDER_COLUMNS),
        rows=tuple(rows),
        origin=provenance(seed, draws * len(nets), device),
        series=tuple(series),
        fits=fits,
        notes=(f"verdicts at a tolerance of {tolerance:.0%}, error intervals at 99 % confidence; other errors are standard",),
        axes=(parameter, "measured against predicted"),
    )


def width_ladder(
    net_of_width: Callable[[int], Net] = preactivation_net,
    widths: Sequence[int] = (2, 4, 8, 16, 32),
    *,
    draws: int = 5000,
    seed: int = 0,
    device: str = "auto",
) -> Table:
    """The approach of a WIDE_LIMIT net to its prediction as the width C grows: O(1/C), the exponent fitted with its error.

    Parameters
    ----------
    net_of_width : Callable[[int], Net]
        From a width to a network.
    widths : sequence of int
        Ascending.
    draws : int
        Initialisations.
    seed : int
        Of all that is drawn.
    device : str
        "auto", "cpu" or "cuda".

    Returns
    -------
    Table
        A row a width, and the fit.
    """
    nets = {width: net_of_width(width) for width in widths}
    return ladder("width", nets, draws=draws, seed=seed, device=device, title="Width ladder: the approach to the wide limit")


def depth_ladder(
    net_of_depth: Callable[[int], Net] = pooled_net,
    depths: Sequence[int] = (1, 2, 4, 8),
    *,
    draws: int = 5000,
    seed: int = 0,
    device: str = "auto",
) -> Table:
    """How prediction and measurement part as the depth grows; by default ReLU under a pooled head, which is APPROXIMATE.

    Parameters
    ----------
    net_of_depth : Callable[[int], Net]
        From a depth to a network.
    depths : sequence of int
        Ascending.
    draws : int
        Initialisations.
    seed : int
        Of all that is drawn.
    device : str
        "auto", "cpu" or "cuda".

    Returns
    -------
    Table
        A row a depth.
    """
    nets = {depth: net_of_depth(depth) for depth in depths}
    return ladder("depth", nets, draws=draws, seed=seed, device=device, title="Depth ladder")


def exact_scale(lattice: Lattice, inputs: int = 64, seed: int = 0) -> tuple[float, float]:
    """Mean enumerated / mean predicted - 1 over white-noise inputs, and its standard error over the inputs.

    Exact over the weights (every sign pattern of a tiny net, `validation.montecarlo.enumerate`); only the inputs are
    drawn. The cost is 2^weights per input: some milliseconds for 5 weights, about ten seconds for 18. `ResourceError`
    above 22 weights.

    Parameters
    ----------
    lattice : Lattice
        A network small enough to enumerate.
    inputs : int
        How many.
    seed : int
        Of all that is drawn.

    Returns
    -------
    tuple[float, float]
        The excess over the prediction, and its standard error.

    Examples
    --------
    >>> value, error = exact_scale(
    ...     Lattice.chain((1, 3), [Conv(2, 2), RELU, Flatten(), Dense(2)]), inputs=5
    ... )
    >>> abs(value) < 1e-12, error < 1e-12
    (True, True)
    """
    noise = np.random.default_rng(seed).normal(size=(inputs, 1, *lattice.input_shape))
    predicted = predict(lattice, initialisation=1.0).squared.mean()
    ratios = [enumerated_squared_gradients(lattice, x).mean() / predicted - 1 for x in noise]
    return float(np.mean(ratios)), float(np.std(ratios, ddof=1) / np.sqrt(inputs))

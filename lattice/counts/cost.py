r"""The size of exact counts: what a sweep would cost, before it runs; the refusal of absurd requests; long integers as text.

On one axis with n cells, m outputs and K taps a cell is read m K / n times on average. So a layer makes about
(cells) * (sum of that over the axes) additions, and its numbers grow by (their product) * (output channels per group).
"""

from dataclasses import dataclass
from functools import lru_cache, singledispatch
from math import log2, log10, prod

import numpy as np

from lattice.checks import is_whole
from lattice.errors import ResourceError, SpecificationError
from lattice.network.lattice import Lattice
from lattice.network.ops import Concat, Dense, Op, Pointwise, Rearrangement, Shape, Summed, WeightedWindow, Windowed
from lattice.sweep.pullback import gain

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Estimate", "check_size", "estimate", "show_count"]

MOST_BYTES = 2**34
MOST_SECONDS = 3600.0
MOST_DIGITS = 4300  # Python's own limit for str(int)
SECONDS_PER_WORD = 2e-9  # to add one 32-bit digit, measured on arrays larger than the caches


@dataclass(frozen=True, slots=True)
class Estimate:
    """Lower estimates (all channels the same): additions of numbers, bits of the largest number, bytes and seconds."""

    additions: float
    bits: float
    bytes: float
    seconds: float


def estimate(lattice: Lattice, one_output: bool = False) -> Estimate:
    """What the path counts of a lattice cost, summed over its outputs or from one of them.

    >>> from lattice import families
    >>> round(estimate(families.plain(1000, depth=100)).bits)
    159
    """
    additions = seconds = 0.0
    bytes_ = 8.0 * prod(lattice.output_shape) if one_output else 0.0
    bits: dict[int, float] = {len(lattice.nodes) - 1: 1.0}
    op, shape = None, None
    for position in reversed(range(1, len(lattice.nodes))):  # not `sweep`: small counts take no longer than this
        node = lattice.nodes[position]
        if node.op is not op or lattice.shapes[node.inputs[0]] != shape:  # else as in the layer above
            op, shape = node.op, lattice.shapes[node.inputs[0]]
            readings, doublings = _cost(op, lattice.input_shapes(node), lattice.shapes[position])
        below_bits = bits[position] + doublings
        additions += readings
        seconds += readings * (1 + below_bits / 32) * SECONDS_PER_WORD
        bytes_ = max(bytes_, prod(shape[1:]) * (72 + below_bits / 4))  # two arrays of Python ints
        for below in node.inputs:
            bits[below] = float(np.logaddexp2(bits[below], below_bits)) if below in bits else below_bits
    return Estimate(additions, max(bits.values()), bytes_, seconds)


@lru_cache(maxsize=512)
def _cost(op: Op, inputs: tuple[Shape, ...], output: Shape) -> tuple[float, float]:
    return _readings(op, inputs, output)


@singledispatch
def _readings(op: Op, inputs: tuple[Shape, ...], output: Shape) -> tuple[float, float]:
    """How many readings, axis by axis, an op makes of its input, and how many bits longer its numbers become.

    Of an op without a rule, as many as it makes of ones.
    """
    most = gain(op, inputs, output)
    return most * max(prod(shape[1:]) for shape in inputs), log2(max(most, 1))


@_readings.register(Concat)
@_readings.register(Pointwise)
@_readings.register(Rearrangement)
@_readings.register(Summed)
def _(op: Op, inputs: tuple[Shape, ...], output: Shape) -> tuple[float, float]:
    return 0.0, 0.0


@_readings.register
def _(op: Dense, inputs: tuple[Shape, ...], output: Shape) -> tuple[float, float]:
    return 0.0, log2(op.units)


@_readings.register
def _(op: Windowed, inputs: tuple[Shape, ...], output: Shape) -> tuple[float, float]:
    spatial = inputs[0][1:]
    readings = [window.outputs(n) * window.taps(n) / n for window, n in zip(op.windows(spatial), spatial, strict=True)]
    channels = op.channels // op.groups if isinstance(op, WeightedWindow) else 1
    return sum(readings) * prod(spatial), log2(prod(readings) * channels)


def check_size(request: str, estimate: Estimate) -> None:
    """`ResourceError` for a request that would take more than `MOST_BYTES` or `MOST_SECONDS`."""
    if estimate.bytes > MOST_BYTES or estimate.seconds > MOST_SECONDS:
        raise ResourceError(
            f"{request}: numbers of {estimate.bits:.0f} bits, at least {estimate.bytes / 2**30:.3g} GiB and "
            f"{estimate.seconds / 60:.3g} minutes (the limits are {MOST_BYTES / 2**30:.0f} GiB and {MOST_SECONDS / 60:.0f} "
            f"minutes); log_path_counts needs no long integers, channels=False has shorter ones, a smaller input fewer"
        )


def show_count(number: int) -> str:
    """A whole number as text: all digits up to 4300, beyond that (where Python refuses `str`) its size.

    Parameters
    ----------
    number : int
        A number of any length.

    Returns
    -------
    str
        The digits, or about how large it is and how many digits it has.

    Raises
    ------
    SpecificationError
        If it is no whole number.

    Examples
    --------
    >>> show_count(3**50), show_count(3**11000)
    ('717897987691852588770249', '~2.2e5248 (exact, 5249 digits)')
    """
    if not is_whole(number):
        raise SpecificationError(f"show_count takes a whole number, not {number!r}")
    number = int(number)
    shift = int(number.bit_length() * log10(2)) - 20
    if shift + 20 < MOST_DIGITS - 1:
        return str(number)
    leading, sign = abs(number) // 10**shift, "-" if number < 0 else ""
    digits = len(str(leading)) + shift
    if digits <= MOST_DIGITS:
        return str(number)
    mantissa, exponent = f"{leading:.1e}".split("e")
    return f"~{sign}{mantissa}e{int(exponent) + shift} (exact, {digits} digits)"

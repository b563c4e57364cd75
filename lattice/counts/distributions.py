r"""What a number of paths is made of: one count, its logarithm where floats overflow, and counts by length and by skips.

A distribution over paths is a polynomial per position, sum_n a_n z^n with a_n the paths that cross n marked edges. It is
read off one pull-back in exact integers (Kronecker substitution): with z = 2^B and 2^B more than any a_n, the a_n are the
digits of the result in base 2^B.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import add
from typing import Any

import numpy as np

from lattice.counts.counting import Where, one_unit, path_counts, spatial_lattice
from lattice.errors import ResourceError, SpecificationError
from lattice.network.lattice import Lattice, Node, Unit, check_lattice
from lattice.network.ops import Activation, Add, Weighted
from lattice.sweep.choices import identity_branches
from lattice.sweep.pullback import gain, pull, pull_back
from lattice.sweep.reverse import bottom, sweep

__all__ = ["is_weighted", "log_path_counts", "path_count", "path_length_distribution", "skip_distribution"]

Array = np.ndarray[Any, Any]

MOST_BITS = 2**35  # of all digits together: 4 GiB
BAND = 512  # bits of exponent that one float64 sweep spans; sums of 2^500 terms still fit


def path_count(lattice: Lattice, output: Where, input: Where, channels: bool = True) -> int:
    """#p from unit `output` to unit `input` (Definition 2, Eq. 2): the number of routes, one exact Python int.

        path_count(lattice, j, i) = |{C : route(C) from j = i}|

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.
    input : Unit, tuple of int or int
        The input unit; a bare position means channel 0.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only, and looks at the positions
        alone.

    Returns
    -------
    int
        The exact count.

    Raises
    ------
    SpecificationError
        If a unit does not exist.
    ResourceError
        If it would take too much memory or time, as for `path_counts`.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((3, 9), [Conv(8, kernel=3), Conv(8, kernel=3)])
    >>> path_count(net, (0,), (2,)), path_count(net, (0,), (2,), channels=False)
    (24, 3)
    """
    check_lattice(lattice, "path_count")
    top, end = lattice.unit(output), lattice.unit(input, node=0)
    if channels:
        return int(path_counts(lattice, top, input_channel=end.channel)[end.position])
    return int(path_counts(lattice, Unit(top.position), channels=False)[end.position])


def path_length_distribution(
    lattice: Lattice, output: Where | None = None, channels: bool = True, input_channel: int | None = None
) -> Array:
    """How many weights the paths cross: a_n(i), the number of paths to position i that cross n weights.

        sum_n a_n(i) z^n = sum over paths from the output to i of z^(number of convolutional and dense layers crossed)

    This is Eq. 8's inner sum where every layer has the same variance z.

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int, int or None, default None
        The output unit; a bare position means channel 0, None is the sum over all output units.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.
    input_channel : int or None, default None
        The input channel; needed where input channels have different counts.

    Returns
    -------
    ndarray of object, shape (most weights + 1, *positions)
        Exact Python ints; their sum over n is `path_counts`.

    Raises
    ------
    SpecificationError
        If the output does not exist, or input channels differ and none is named.
    ResourceError
        If it would take too much memory or time, as for `path_counts`.

    Examples
    --------
    >>> from lattice import Conv, Lattice, residual
    >>> net = Lattice.chain((1, 4), [residual([Conv(1, kernel=3, padding=1)])] * 2)
    >>> path_length_distribution(net, output=(1,))
    array([[0, 1, 0, 0],
           [2, 2, 2, 0],
           [2, 3, 2, 1]], dtype=object)
    """
    check_lattice(lattice, "path_length_distribution")
    marked = {node.name for node in lattice.nodes if is_weighted(node)}
    return _by_marks(lattice, marked, output, channels, input_channel)


def skip_distribution(
    lattice: Lattice, output: Where | None = None, channels: bool = True, input_channel: int | None = None
) -> Array:
    """How often paths skip: a_n(i), the number of paths to position i whose command vector holds n times SKIP.

        sum_n a_n(i) z^n = sum over paths from the output to i of z^(identity branches taken)

    In a stack of L equal residual blocks a_n(i) = C(L, n) p_(L-n)(i) away from the borders.

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int, int or None, default None
        The output unit; a bare position means channel 0, None is the sum over all output units.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.
    input_channel : int or None, default None
        The input channel; needed where input channels have different counts.

    Returns
    -------
    ndarray of object, shape (most skips + 1, *positions)
        Exact Python ints; their sum over n is `path_counts`.

    Raises
    ------
    SpecificationError
        If the output does not exist, or input channels differ and none is named.
    ResourceError
        If it would take too much memory or time, as for `path_counts`.

    Examples
    --------
    >>> from lattice import Conv, Lattice, residual
    >>> net = Lattice.chain((1, 4), [residual([Conv(1, kernel=3, padding=1)])] * 2)
    >>> skip_distribution(net, output=(1,))
    array([[2, 3, 2, 1],
           [2, 2, 2, 0],
           [0, 1, 0, 0]], dtype=object)
    """
    check_lattice(lattice, "skip_distribution")
    marked_lattice, marked = _with_marked_skips(lattice)
    return _by_marks(marked_lattice, marked, output, channels, input_channel)


def log_path_counts(
    lattice: Lattice, output: Where | None = None, channels: bool = True, input_channel: int | None = None
) -> Array:
    """log #p in float64, right where the counts themselves overflow float64.

    Each number is kept as m 2^e with its own exponent e. Pulling back is linear, so numbers are grouped into bands of
    512 bits, every band is pulled back in ordinary floats, and the results are added in the widest band. All terms are
    positive, so the relative error of #p grows like layers x 1e-16 (5e-13 after 2000), and that of its logarithm is smaller.

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int, int or None, default None
        The output unit; a bare position means channel 0, None is the sum over all output units.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.
    input_channel : int or None, default None
        The input channel; needed where input channels have different counts.

    Returns
    -------
    ndarray of float64
        Natural logarithms over input positions; -inf where there is no path.

    Raises
    ------
    SpecificationError
        If the output does not exist, or input channels differ and none is named.

    Examples
    --------
    >>> from lattice import families
    >>> log_path_counts(families.plain(5, depth=2), output=(0,))[:3].round(3)
    array([0.   , 0.693, 1.099])
    >>> float(log_path_counts(families.plain(12, depth=5000, padding=1)).max().round(3))
    5395.48
    """
    check_lattice(lattice, "log_path_counts")
    if not channels:
        lattice = spatial_lattice(lattice)
    wide = _wide_pull_back(lattice, one_unit(lattice, output, one=1.0))
    mantissas, exponents = (_named_channel(part, lattice, input_channel) for part in (wide.mantissas, wide.exponents))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(mantissas) + exponents * np.log(2.0))


def is_weighted(node: Node) -> bool:
    """Does a path through this node cross a weight? Convolutions and dense layers have weights, pools and sums have none."""
    return isinstance(node.op, Weighted)


# --- distributions --------------------------------------------------------------------------------------------------------


def _by_marks(
    lattice: Lattice, marked: Collection[str], output: Where | None, channels: bool, input_channel: int | None
) -> Array:
    """The number of paths by how many of the marked nodes they cross: (most marks + 1, *positions)."""
    most = _most_marks(lattice, marked)
    if not channels:
        lattice = spatial_lattice(lattice)
    bits = _most_paths(lattice).bit_length()
    positions = prod(lattice.input_shape[1:])
    if bits * (most + 1) * positions > MOST_BITS:
        raise ResourceError(
            f"a distribution over 0..{most} for each of {positions} positions, of numbers with up to {bits} bits, takes "
            f"{bits * (most + 1) * positions / 2**33:.0f} GiB; take a smaller input or fewer layers, or ask for the totals: "
            f"path_counts or log_path_counts"
        )
    digits = pull_back(lattice, lambda node: 1 << bits if node.name in marked else 1, one_unit(lattice, output, one=1))
    digits = _named_channel(digits, lattice, input_channel)
    result = np.zeros((most + 1, *digits.shape), dtype=object)
    for position in np.ndindex(digits.shape):
        rest = int(digits[position])
        for count in range(most + 1):
            if not rest:
                break
            result[(count, *position)] = rest & ((1 << bits) - 1)
            rest >>= bits
    return result


def _most_paths(lattice: Lattice) -> int:
    """No input unit has more paths than this, from all outputs together: each layer reads a unit as often as any, at most."""

    def step(position: int, here: int) -> list[int]:
        node = lattice.nodes[position]
        most = here * gain(node.op, lattice.input_shapes(node), lattice.shapes[position])
        return [most] * len(node.inputs)

    return bottom(sweep(lattice, 1, step))


def _most_marks(lattice: Lattice, marked: Collection[str]) -> int:
    """The largest number of marked nodes on one way through the lattice."""
    most: list[int] = []
    for node in lattice.nodes:
        most.append(max((most[below] for below in node.inputs), default=0) + (node.name in marked))
    return most[-1]


def _with_marked_skips(lattice: Lattice) -> tuple[Lattice, list[str]]:
    """The same lattice with a node of its own on every identity branch that SKIP takes, and the names of these nodes."""
    nodes: list[Node] = []
    moved: list[int] = []
    marked: list[str] = []
    for position, node in enumerate(lattice.nodes):
        inputs = [moved[below] for below in node.inputs]
        identity = identity_branches(lattice, position) if isinstance(node.op, Add) else []
        if len(identity) == 1:
            marked.append(f"{node.name} skip")
            nodes.append(Node(marked[-1], Activation("identity"), (inputs[identity[0]],)))
            inputs[identity[0]] = len(nodes) - 1
        moved.append(len(nodes))
        nodes.append(Node(node.name, node.op, tuple(inputs)))
    return Lattice(tuple(nodes)), marked


def _named_channel(counts: Array, lattice: Lattice, input_channel: int | None) -> Array:
    """The map of one input channel; without a name for it, all channels must agree."""
    channel = 0 if input_channel is None else input_channel
    if not 0 <= channel < lattice.input_shape[0]:
        raise SpecificationError(f"input_channel is {channel}; the input has {lattice.input_shape[0]} channels")
    if input_channel is None and (counts != counts[:1]).any():
        raise SpecificationError(
            f"the {counts.shape[0]} input channels have different path counts; name one with input_channel=..."
        )
    named: Array = counts[channel if counts.shape[0] > 1 else 0]
    return named


# --- numbers m 2^e, each with its own exponent ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wide:
    """An array of numbers m 2^e, m in [1/2, 1) or 0."""

    mantissas: Array
    exponents: Array

    def __add__(self, other: "_Wide") -> "_Wide":
        """What lies below the last bit of the larger number vanishes, as in any float."""
        lowest = np.iinfo(np.int32).min
        m, e = np.broadcast_arrays(self.mantissas, self.exponents)
        n, f = np.broadcast_arrays(other.mantissas, other.exponents)
        high = np.maximum(np.where(m > 0, e, lowest), np.where(n > 0, f, lowest))
        high = np.where((m > 0) | (n > 0), high, 0)
        total = np.ldexp(m, np.where(m > 0, np.maximum(e - high, -2000), 0)) + np.ldexp(
            n, np.where(n > 0, np.maximum(f - high, -2000), 0)
        )
        return _normal(total, high)


def _normal(values: Array, exponents: Array) -> _Wide:
    mantissas, more = np.frexp(values)
    return _Wide(mantissas, exponents + more)


def _wide_pull_back(lattice: Lattice, cotangent: Array) -> _Wide:
    """`pull_back` with every weight 1, of numbers m 2^e."""

    def step(position: int, here: _Wide) -> list[_Wide]:
        node, mantissas, exponents = lattice.nodes[position], here.mantissas, here.exponents
        present = np.unique(exponents[mantissas > 0] // BAND) if (mantissas > 0).any() else np.zeros(1, dtype=np.int64)
        bands = np.stack(
            [np.ldexp(np.where(exponents // BAND == band, mantissas, 0.0), exponents - BAND * band) for band in present]
        )
        pulled = pull(node.op, lattice.input_shapes(node), bands, lattice.shapes[position])
        return [
            reduce(add, (_normal(part, np.full(part.shape, BAND * band)) for band, part in zip(present, parts, strict=True)))
            for parts in pulled
        ]

    return bottom(sweep(lattice, _normal(cotangent, np.zeros(cotangent.shape, dtype=np.int64)), step))

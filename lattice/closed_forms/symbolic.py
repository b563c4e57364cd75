r"""Path sums with letters in them (sympy): Eq. 8 in V_1..V_L per pixel, and generating functions.

Everything here is an ordinary sympy expression: `subs`, `expand`, `doit` and `latex` work on it.
"""

from itertools import takewhile
from math import prod
from typing import Any

import numpy as np
import sympy  # type: ignore[import-untyped]
from sympy.polys.domains import ZZ  # type: ignore[import-untyped]
from sympy.polys.rings import ring  # type: ignore[import-untyped]

from lattice.counts.counting import Where, one_unit, spatial_lattice
from lattice.counts.distributions import is_weighted
from lattice.errors import ResourceError, SpecificationError
from lattice.network.lattice import Lattice, Node, Unit, check_lattice
from lattice.network.ops import Add, Input, Pointwise, Windowed
from lattice.network.windows.window import Window
from lattice.sweep.pullback import pull_back
from lattice.sweep.reverse import bottom, sweep

__all__ = [
    "generating_function",
    "path_polynomial",
    "path_polynomials",
    "variance_symbols",
]

Array = np.ndarray[Any, Any]

MOST_TERMS = 10**6  # monomials over all positions

AXES = sympy.symbols("x y z")


def variance_symbols(lattice: Lattice) -> dict[str, sympy.Symbol]:
    """V_1..V_L: a positive symbol for the weight variance of each convolutional or dense layer.

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    dict of str to sympy.Symbol
        Symbol by layer name, in the order of the lattice.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> variance_symbols(Lattice.chain((1, 9), [Conv(1, kernel=3), Conv(1, kernel=3)]))
    {'conv1': V_1, 'conv2': V_2}
    """
    check_lattice(lattice, "variance_symbols")
    names = [node.name for node in lattice.nodes if is_weighted(node)]
    return {name: sympy.Symbol(f"V_{number}", positive=True) for number, name in enumerate(names, start=1)}


def path_polynomial(lattice: Lattice, output: Where, input: Where, channels: bool = True) -> sympy.Expr:
    """Eq. 8's inner sum in symbols: sum over the paths from `output` to `input` of prod of V over the layers crossed.

        sum over C in P_(j -> i) of prod_(l in Layers(C)) V_l

    One symbol per convolutional or dense layer (`variance_symbols`); pools and sums have no weight and count as 1. With all
    V = 1 it is `path_count`; in a chain it is #p V_1 ... V_L, and only branches make it more than one term.

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.
    input : Unit, tuple of int or int
        The input unit; a bare position means channel 0.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.

    Returns
    -------
    sympy.Expr
        A polynomial in V_1, ..., V_L with exact integer coefficients.

    Raises
    ------
    SpecificationError
        If a unit does not exist.
    ResourceError
        If there are too many ways through the layers.

    Examples
    --------
    >>> from lattice import Conv, Lattice, residual
    >>> net = Lattice.chain(
    ...     (1, 5), [Conv(1, kernel=3, padding=1), residual([Conv(1, kernel=3, padding=1)])]
    ... )
    >>> path_polynomial(net, (2,), (2,)), path_polynomial(net, (2,), (0,))
    (3*V_1*V_2 + V_1, V_1*V_2)
    """
    check_lattice(lattice, "path_polynomial")
    top, end = lattice.unit(output), lattice.unit(input, node=0)
    if channels:
        return path_polynomials(lattice, top, input_channel=end.channel)[end.position]
    return path_polynomials(lattice, Unit(top.position), channels=False)[end.position]


def path_polynomials(
    lattice: Lattice, output: Where | None = None, channels: bool = True, input_channel: int | None = None
) -> Array:
    """`path_polynomial` for every input position at once, or, without an output, summed over all outputs.

        sum_j sum over C in P_(j -> i) of prod_(l in Layers(C)) V_l

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int, int or None, default None
        The output unit; a bare position means channel 0, None is the sum over all output units.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.
    input_channel : int or None, default None
        The input channel; needed where input channels have different sums.

    Returns
    -------
    ndarray of object
        Sympy expressions over input positions.

    Raises
    ------
    SpecificationError
        If a unit does not exist, or input channels differ and none is named.
    ResourceError
        If there would be more than 10^6 terms over all positions.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> path_polynomials(Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1)]))
    array([2*V_1, 3*V_1, 3*V_1, 2*V_1], dtype=object)
    """
    check_lattice(lattice, "path_polynomials")
    if not channels:
        lattice = spatial_lattice(lattice)
    _check_terms(lattice)
    symbols = variance_symbols(lattice)
    polynomials, *generators = ring(list(symbols.values()), ZZ) if symbols else ring([sympy.Dummy()], ZZ)
    letters = dict(zip(symbols, generators, strict=False))
    cotangent = one_unit(lattice, output, one=polynomials.one)
    sums = pull_back(lattice, lambda node: letters.get(node.name, 1), cotangent)
    channel = 0 if input_channel is None else input_channel
    if not 0 <= channel < lattice.input_shape[0]:
        raise SpecificationError(f"input_channel is {channel}; the input has {lattice.input_shape[0]} channels")
    if input_channel is None and any((other != sums[0]).any() for other in sums[1:]):
        raise SpecificationError(f"the {len(sums)} input channels have different path sums; name one with input_channel=...")
    named = sums[channel if len(sums) > 1 else 0]
    result = np.empty(named.shape, dtype=object)
    for position in np.ndindex(named.shape):
        result[position] = polynomials(named[position]).as_expr()
    return result


def _check_terms(lattice: Lattice) -> None:
    """A path sum has at most as many terms as there are ways through the layers."""
    ways = bottom(sweep(lattice, 1, lambda position, here: [here] * len(lattice.nodes[position].inputs)))
    terms = ways * prod(lattice.input_shape[1:])
    if terms > MOST_TERMS:
        raise ResourceError(
            f"path polynomials with up to {ways:.1e} terms at each of {prod(lattice.input_shape[1:])} positions (the limit "
            f"is {MOST_TERMS:.0e} in all); path_length_distribution counts the same paths by how many weights they cross"
        )


# --- generating functions ----------------------------------------------------------------------------------------------------


def generating_function(lattice: Lattice) -> sympy.Expr:
    """The spatial path counts of one output unit, borders left out, as the coefficients of a product.

        G(x) = prod_l sum_k x^(S_l (d_l k - lo_l)),      #p_(j -> i) = [x^(i - S j)] G(x)

    S_l is the product of the strides below layer l (a stride turns x into x^s for all layers above it), S that of all; an
    identity skip adds 1 to the factor of its block; on two or three axes the letters are x, y, z. Exact for every output
    whose routes read no padding; padded layers are taken as if the input went on beyond its borders.

    Parameters
    ----------
    lattice : Lattice
        Layers with windows, sums, pointwise layers; no head.

    Returns
    -------
    sympy.Expr
        The generating function, factored as the layers are.

    Raises
    ------
    SpecificationError
        If a layer is not the same at all positions (upsampling, uneven adaptive pools, heads), or branches have different
        strides; the message names the layer.

    Examples
    --------
    >>> from lattice import Conv, Lattice, residual
    >>> generating_function(
    ...     Lattice.chain(
    ...         (1, 30), [Conv(1, kernel=3, stride=2), Conv(1, kernel=2, dilation=3)]
    ...     )
    ... )
    (x**6 + 1)*(x**2 + x + 1)
    >>> generating_function(
    ...     Lattice.chain((1, 9), [residual([Conv(1, kernel=3, padding=1)])] * 4)
    ... )
    (x + 2 + 1/x)**4
    """
    check_lattice(lattice, "generating_function")
    lattice = spatial_lattice(lattice)
    factors: list[tuple[sympy.Expr, ...]] = []  # of what lies between the input and each node, bottom first
    strides: list[tuple[int, ...]] = []
    for node in lattice.nodes:
        inputs = [factors[below] for below in node.inputs]
        if isinstance(node.op, Input):
            factors.append(())
            strides.append((1,) * (len(node.op.shape) - 1))
        elif isinstance(node.op, Windowed):
            below = node.inputs[0]
            windows = node.op.windows(lattice.shapes[below][1:])
            factor = sympy.Mul(*(_taps(node, w, s, x) for w, s, x in zip(windows, strides[below], AXES, strict=False)))
            factors.append((*inputs[0], factor))
            strides.append(tuple(s * w.stride for s, w in zip(strides[below], windows, strict=True)))  # type: ignore[attr-defined]
        elif isinstance(node.op, Add):
            if len({strides[below] for below in node.inputs}) > 1:
                raise SpecificationError(f"{node.name}: its branches have different strides, so no one x^S shifts them all")
            shared = len(list(takewhile(lambda same: len(set(same)) == 1, zip(*inputs, strict=False))))
            factors.append((*inputs[0][:shared], sympy.Add(*(sympy.Mul(*branch[shared:]) for branch in inputs))))
            strides.append(strides[node.inputs[0]])
        elif isinstance(node.op, Pointwise):
            factors.append(inputs[0])
            strides.append(strides[node.inputs[0]])
        else:
            raise SpecificationError(f"{node.name}: {node.op} has no generating function; take the lattice below it")
    return sympy.Mul(*factors[-1])


def _taps(node: Node, window: Any, stride: int, x: sympy.Symbol) -> sympy.Expr:
    if not isinstance(window, Window):
        raise SpecificationError(
            f"{node.name}: {node.op} does not read the same way at all positions, so it has no generating function; "
            f"path_counts and path_polynomial take it"
        )
    return sympy.Add(*(x ** (stride * (window.dilation * k - window.padding[0])) for k in range(window.kernel)))

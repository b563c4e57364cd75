"""Symbolic path sums and generating functions, against listed paths and exact counts."""

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lattice import (
    Activation,
    Command,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Lattice,
    Pool,
    ResourceError,
    SpecificationError,
    Unit,
    commands,
    concatenate,
    families,
    path_counts,
    residual,
)
from lattice.closed_forms.symbolic import generating_function, path_polynomial, path_polynomials, variance_symbols
from lattice.counts.distributions import path_length_distribution
from lattice.testing.strategies import lattices
from tests.lattice.listing import some_unit

V = sympy.symbols("V_1:9", positive=True)


x, y, z = sympy.symbols("x y z")


def layers_of(net, vector, unit):
    """The weighted layers that a command vector crosses: walk it, from the top, as `route` does."""
    from lattice.sweep.choices import choices_at

    found = set()
    stack = [(len(net.nodes) - 1, unit, tuple(vector), frozenset())]
    while stack:
        position, where, remaining, crossed = stack.pop()
        if position == 0:
            if not remaining:
                found.add(crossed)
            continue
        for command, below, to in choices_at(net, position, where):
            if command is None:
                stack.append((below, to, remaining, crossed))
            elif remaining and remaining[-1] == command:
                weight = isinstance(command, Command) and command.channel is not None
                more = crossed | {net.nodes[position].name} if weight else crossed
                stack.append((below, to, remaining[:-1], more))
    return found


@settings(max_examples=80)
@given(lattices(), st.data())
def test_path_polynomials_are_sums_over_listed_paths(net, data):
    output, target = some_unit(data.draw, net.output_shape), some_unit(data.draw, net.input_shape)
    assume(path_counts(net, output, input_channel=target.channel)[target.position] <= 60)
    symbols = variance_symbols(net)
    expected = sympy.Integer(0)
    for vector in commands(net, output, target):
        crossed = layers_of(net, vector, output)
        assume(len(crossed) == 1)  # a skip below a branch without commands can be read in two ways
        expected += sympy.prod(symbols[name] for name in crossed.pop())
    assert sympy.expand(path_polynomial(net, output, target) - expected) == 0


@settings(max_examples=60)
@given(lattices())
def test_with_equal_variances_they_count_paths_by_length(net):
    symbols = variance_symbols(net).values()
    polynomials = path_polynomials(net, input_channel=0)
    lengths = path_length_distribution(net, input_channel=0)
    for position in np.ndindex(polynomials.shape):
        expected = sum(count * x**length for length, count in enumerate(lengths[(slice(None), *position)]))
        assert sympy.expand(polynomials[position].subs(dict.fromkeys(symbols, x)) - expected) == 0


def test_a_chain_has_one_term():
    net = Lattice.chain((2, 9), [Conv(2, 3), Pool("avg", 2), Conv(2, 3)])
    assert path_polynomial(net, (0,), (4,)) == int(path_counts(net, (0,))[4]) * V[0] * V[1]
    assert path_polynomial(net, (0,), (4,), channels=False) == int(path_counts(net, (0,), channels=False)[4]) * V[0] * V[1]


def test_a_net_without_weights_has_numbers():
    assert path_polynomial(Lattice.chain((1, 6), [Pool("avg", 3, 1)] * 2), (0,), (2,)) == 3


def test_layers_are_numbered_in_lattice_order_and_print_as_in_the_paper():
    net = Lattice.chain((1, 4, 4), [Conv(1, 3, padding=1), residual([Conv(1, 3, padding=1)]), Flatten(), Dense(2)])
    assert list(variance_symbols(net).values()) == list(V[:3])
    assert sympy.latex(path_polynomial(net, Unit((), 0), (0, 0))) == "25 V_{1} V_{2} V_{3} + 4 V_{1} V_{3}"


def test_path_sums_of_many_branches_are_refused():
    net = Lattice.chain((1, 9), [residual([Conv(1, 3, padding=1)])] * 40)
    with pytest.raises(ResourceError, match="path_length_distribution"):
        path_polynomial(net, (0,), (0,))
    with pytest.raises(SpecificationError, match="input_channel"):
        path_polynomials(Lattice.chain((2, 3), [Conv(2, 1, groups=2)]), Unit((0,), 1))


def coefficients(expression, letters, shape, start=None):
    """The coefficient of every monomial, shifted by `start`, as an array over input positions."""
    counts = np.zeros(shape, dtype=object)
    start = start or (0,) * len(shape)
    for term in sympy.Add.make_args(sympy.expand(expression)):
        number, rest = term.as_coeff_Mul()
        powers = rest.as_powers_dict()
        counts[tuple(int(powers.get(letter, 0)) + offset for letter, offset in zip(letters, start, strict=False))] += int(
            number
        )
    return counts


@st.composite
def unpadded_chains(draw):
    """Convolutions, pools and gates over an input that is as long as a few outputs need, or longer."""
    layers, size = [], draw(st.integers(1, 3))
    for _ in range(draw(st.integers(1, 4))):  # from the top down
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
        if draw(st.booleans()):
            layers.insert(0, Conv(1, kernel, stride, dilation=dilation))
        else:
            dilation = 1
            layers[:0] = [Pool("avg", kernel, stride), Activation("relu")]
        size = (size - 1) * stride + dilation * (kernel - 1) + 1 + draw(st.integers(0, stride - 1))
    return Lattice.chain((1, size), layers)


@settings(max_examples=60)
@given(unpadded_chains())
def test_generating_functions_of_unpadded_chains(net):
    counts = path_counts(net, (0,), channels=False)
    assert (coefficients(generating_function(net), [x], counts.shape) == counts).all()


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((1, 40, 30), [Conv(1, (3, 2), stride=(2, 1)), Conv(1, (2, 3), dilation=(3, 1)), Conv(1, 3)]),
        ((1, 12, 9, 9), [Conv(1, 2, stride=(2, 1, 1)), Conv(1, (2, 3, 1))]),
    ],
)
def test_generating_functions_on_two_and_three_axes(shape, layers):
    net = Lattice.chain(shape, layers)
    output = (0,) * (len(shape) - 1)
    counts = path_counts(net, output)
    assert (coefficients(generating_function(net), (x, y, z), counts.shape) == counts).all()


def test_skips_strides_and_paddings_inside_the_borders():
    """S = 2 below two blocks: output 10 looks at 20 + d, and everything that it reads lies inside."""
    block = residual([Conv(1, 3, padding=1), Activation(), Conv(1, 3, padding=2, dilation=2)])
    net = Lattice.chain((1, 45), [Conv(1, 3, stride=2, padding=1), block, block])
    counts = path_counts(net, (10,))
    assert (coefficients(generating_function(net), [x], counts.shape, start=(20,)) == counts).all()


def test_a_generating_function_counts_from_the_left_padding():
    net = Lattice.chain((1, 30), [Conv(1, 4, padding=(3, 1)), Conv(1, 3, dilation=2, padding=(1, 4))])
    counts = path_counts(net, (12,))
    assert (coefficients(generating_function(net), [x], counts.shape, start=(12,)) == counts).all()


def test_too_many_terms_are_refused_by_their_number_at_all_positions():
    block = residual([Conv(1, 3, padding=1)])
    assert path_polynomials(Lattice.chain((1, 2), [block] * 4), (0,)).shape == (2,)
    with pytest.raises(ResourceError, match=r"6\.6e\+04 terms at each of 64 positions"):  # 2^16 at one position would do
        path_polynomials(Lattice.chain((1, 64), [block] * 16), (0,))


def test_common_layers_are_factored_out():
    skip = generating_function(Lattice.chain((1, 9), [Conv(1, 2), residual([Conv(1, 3, padding=1)])]))
    assert skip == (x + 1) * (x + 2 + 1 / x)
    branches = concatenate([Conv(1, 3, padding=1)], [Conv(1, 1)])
    assert generating_function(Lattice.chain((1, 9), [branches])) == x + 2 + 1 / x
    assert sympy.latex(generating_function(families.plain(11, 5))) == r"\left(x^{2} + x + 1\right)^{5}"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([ConvTranspose(1, 2, 2)], "convtranspose1: .*path_counts"),
        ([Flatten(), Dense(3)], "flatten1"),
        ([residual([Conv(1, 3, stride=2, padding=1), ConvTranspose(1, 2, 2)])], "convtranspose1"),
    ],
)
def test_layers_without_a_generating_function_are_named(layers, message):
    with pytest.raises(SpecificationError, match=message):
        generating_function(Lattice.chain((1, 8), layers))

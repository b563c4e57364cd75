"""Formulas in a symbolic depth, width or position give the numbers of the exact forms."""

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import (
    SpecificationError,
)
from lattice.closed_forms.formulas import PascalNumber, pascal_formula, residual_formula, strip_formula
from lattice.closed_forms.pascal import pascal_row, residual_row
from lattice.closed_forms.strips import strip_counts_reflection

L, N = sympy.symbols("L N", integer=True, positive=True)


n = sympy.Symbol("n", integer=True, nonnegative=True)


d, i, j = sympy.symbols("d i j", integer=True)


@given(st.integers(1, 6), st.integers(1, 7), st.data())
def test_the_pascal_formula_gives_the_rows(kernel, depth, data):
    row = pascal_row(kernel, depth)
    position = data.draw(st.integers(0, len(row) - 1))
    assert pascal_formula(kernel).subs({L: depth, n: position}).doit() == row[position]
    assert PascalNumber(kernel, L, n).subs({L: depth, n: position}) == row[position]
    assert PascalNumber(kernel, L, n).rewrite(sympy.Sum) == pascal_formula(kernel)


def test_a_symbolic_depth_gives_polynomials_in_it():
    assert sympy.expand_func(pascal_formula(3).subs(n, 2).doit()).equals(L * (L + 1) / 2)
    assert sympy.factor(sympy.expand_func(pascal_formula(3).subs(n, 3).doit())) == L * (L - 1) * (L + 4) / 6


@given(st.sampled_from([1, 3, 5, 7]), st.integers(1, 5), st.data())
def test_the_residual_formula_gives_the_rows(kernel, depth, data):
    reach = (kernel - 1) // 2 * depth
    offset = data.draw(st.integers(-reach, reach))
    assert residual_formula(kernel).subs({L: depth, d: offset}).doit() == residual_row(kernel, depth)[offset + reach]
    assert residual_formula(kernel, depth, reach + 1).doit() == 0


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(1, 6), st.data())
def test_the_strip_formula_gives_the_counts(width, depth, data):
    output, cell = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, width - 1))
    value = strip_formula().subs({N: width, L: depth, j: output, i: cell}).doit()
    expected = strip_counts_reflection(width, depth, output)[cell]
    assert abs(value.evalf(40) - expected) < sympy.Rational(1, 10**30)


def test_the_strip_formula_sums_over_whole_numbers():
    (index,) = strip_formula().atoms(sympy.Sum).pop().variables
    assert (index.is_integer, index.is_positive) == (True, True)


@pytest.mark.parametrize("text", ["3", "L", "__import__('os').getcwd()"])
def test_text_is_no_formula(text):
    for make in (lambda: strip_formula(text), lambda: residual_formula(3, text), lambda: pascal_formula(3, text)):
        with pytest.raises(SpecificationError, match="a sympy expression"):
            make()


def test_formulas_print_as_in_a_paper():
    assert sympy.latex(pascal_formula(2)) == r"{\binom{L}{n}}"
    assert sympy.latex(residual_formula(3)) == r"{\binom{2 L}{L + d}}"
    trinomial = sympy.latex(pascal_formula(3))
    assert trinomial.startswith(r"\sum_{j=0}^{\left\lfloor{\frac{n}{3}}\right\rfloor} \left(-1\right)^{j} {\binom{L}{j}}")
    assert sympy.latex(residual_formula(5)) == r"\sum_{m=0}^{L} {\binom{m}{d + 2 m}}_{5} {\binom{L}{m}}"
    strip = sympy.latex(strip_formula())
    assert r"\sum_{m=1}^{N}" in strip
    assert r"\left(2 \cos{\left(\frac{\pi m}{N + 1} \right)} + 1\right)^{L}" in strip


def test_kernels_without_a_formula_say_so():
    with pytest.raises(SpecificationError, match="kernel is 4; an identity skip joins the centre of an odd kernel"):
        residual_formula(4)
    with pytest.raises(SpecificationError, match="kernel is 0"):
        pascal_formula(0)

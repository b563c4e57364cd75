r"""Closed forms in a symbolic depth (sympy): binomial, trinomial and beyond, identity skips, the padded strip.

Ordinary sympy expressions in L, N, n, d, i, j or whatever the caller puts there; `lattice.closed_forms.pascal` and
`lattice.closed_forms.strips` are the fast way to numbers.
"""

from typing import Any

import sympy  # type: ignore[import-untyped]

from lattice.checks import whole
from lattice.closed_forms.pascal import pascal_coefficient
from lattice.errors import SpecificationError

__all__ = ["PascalNumber", "pascal_formula", "residual_formula", "strip_formula"]

# The depth, width, and positions of a formula, where the caller names no others.
L = sympy.Symbol("L", integer=True, positive=True)
N = sympy.Symbol("N", integer=True, positive=True)
OFFSET, INPUT, OUTPUT = sympy.symbols("d i j", integer=True)
POSITION = sympy.Symbol("n", integer=True, nonnegative=True)


class PascalNumber(sympy.Function):  # type: ignore[misc]
    r"""[x^n] (1 + x + ... + x^(K-1))^L as a sympy function of (K, L, n): the generalised Pascal triangle inside formulas.

    A number where K, L, n are numbers (`pascal_coefficient`); prints as \binom{L}{n}_{K}; `rewrite(Sum)` is `pascal_formula`.

    Parameters
    ----------
    kernel : sympy expression or int
        Kernel size K.
    depth : sympy expression or int
        Number of layers L.
    n : sympy expression or int
        Position in the row.

    Examples
    --------
    >>> PascalNumber(3, 4, 4), sympy.latex(PascalNumber(3, L, L))
    (19, '{\\binom{L}{L}}_{3}')
    """

    nargs = 3

    @classmethod
    def eval(cls, kernel: Any, depth: Any, n: Any) -> Any:
        if all(value.is_Integer for value in (kernel, depth, n)):
            return sympy.Integer(pascal_coefficient(int(kernel), int(depth), int(n)))  # raises for a kernel below 1
        return None

    def _eval_rewrite_as_Sum(self, kernel: Any, depth: Any, n: Any, **hints: Any) -> Any:  # noqa: N802 (sympy's name)
        return pascal_formula(int(kernel), depth, n)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        kernel, depth, n = map(printer._print, self.args)
        printed = rf"{{\binom{{{depth}}}{{{n}}}}}_{{{kernel}}}"
        return printed if exp is None else rf"\left({printed}\right)^{{{exp}}}"


def pascal_formula(kernel: int, depth: Any = L, n: Any = POSITION) -> sympy.Expr:
    """Entry n of row L of the generalised Pascal triangle, for L >= 1 layers of a given kernel, as a formula.

        sum_(j=0..floor(n/K)) (-1)^j C(L, j) C(L - 1 + n - K j, L - 1);     C(L, n) for K = 2

    `doit()` evaluates the sum where n is a number; `pascal_coefficient` is the fast way to numbers.

    Parameters
    ----------
    kernel : int
        Kernel size K.
    depth : sympy expression or int, default L
        Number of layers.
    n : sympy expression or int, default n
        Position in the row.

    Returns
    -------
    sympy.Expr
        The formula.

    Examples
    --------
    >>> pascal_formula(2)
    binomial(L, n)
    >>> pascal_formula(3), pascal_formula(3, 4, 4).doit()
    (Sum((-1)**j*binomial(L, j)*binomial(L - 3*j + n - 1, L - 1), (j, 0, floor(n/3))), 19)
    """
    kernel = whole("kernel", kernel, 1)
    depth, n = _expression("depth", depth), _expression("n", n)
    if kernel == 1:
        return sympy.KroneckerDelta(n, 0)
    if kernel == 2:
        return sympy.binomial(depth, n)
    j = sympy.Symbol("j", integer=True)
    term = (-1) ** j * sympy.binomial(depth, j) * sympy.binomial(depth - 1 + n - kernel * j, depth - 1)
    return sympy.Sum(term, (j, 0, sympy.floor(n / kernel)))


def residual_formula(kernel: int, depth: Any = L, d: Any = OFFSET) -> sympy.Expr:
    """Formula for the paths at offset d of L residual blocks, an identity skip around an odd kernel K = 2 r + 1.

        C(2L, L + d) for K = 3;     in general sum_m C(L, m) p_m(d), p_m the row of the m blocks that are not skipped

    Parameters
    ----------
    kernel : int
        Kernel size K, odd.
    depth : sympy expression or int, default L
        Number of blocks.
    d : sympy expression or int, default d
        Offset from the output's position.

    Returns
    -------
    sympy.Expr
        The formula; `residual_row` gives numbers.

    Raises
    ------
    SpecificationError
        If the kernel is even.

    Examples
    --------
    >>> residual_formula(3)
    binomial(2*L, L + d)
    >>> residual_formula(5), residual_formula(5, 3, 1).doit()
    (Sum(PascalNumber(5, m, d + 2*m)*binomial(L, m), (m, 0, L)), 33)
    """
    kernel = whole("kernel", kernel, 1)
    if kernel % 2 == 0:
        raise SpecificationError(f"kernel is {kernel}; an identity skip joins the centre of an odd kernel")
    depth, d = _expression("depth", depth), _expression("d", d)
    if kernel == 1:
        return 2**depth * sympy.KroneckerDelta(d, 0)
    if kernel == 3:
        return sympy.binomial(2 * depth, depth + d)
    m = sympy.Symbol("m", integer=True, nonnegative=True)
    return sympy.Sum(sympy.binomial(depth, m) * PascalNumber(kernel, m, d + (kernel - 1) // 2 * m), (m, 0, depth))


def strip_formula(width: Any = N, depth: Any = L, output: Any = OUTPUT, input: Any = INPUT) -> sympy.Expr:
    """Formula for the path counts of L zero-padded k = 3 layers over N cells, from output j to input i: the spectral form.

        2/(N+1) sum_(m=1..N) sin(pi m (i+1)/(N+1)) sin(pi m (j+1)/(N+1)) (1 + 2 cos(pi m/(N+1)))^L

    Parameters
    ----------
    width : sympy expression or int, default N
        Number of cells.
    depth : sympy expression or int, default L
        Number of layers.
    output : sympy expression or int, default j
        The output cell.
    input : sympy expression or int, default i
        The input cell.

    Returns
    -------
    sympy.Expr
        The formula; `strip_counts_reflection` gives numbers.

    Examples
    --------
    >>> sympy.simplify(strip_formula(3, 4, 0, 1).doit())
    12
    """
    width, depth = _expression("width", width), _expression("depth", depth)
    top, bottom = _expression("output", output), _expression("input", input)
    m = sympy.Symbol("m", integer=True, positive=True)
    angle = sympy.pi * m / (width + 1)
    term = sympy.sin(angle * (bottom + 1)) * sympy.sin(angle * (top + 1)) * (1 + 2 * sympy.cos(angle)) ** depth
    return 2 / (width + 1) * sympy.Sum(term, (m, 1, width))


def _expression(name: str, value: Any) -> sympy.Expr:
    """The value as a sympy expression. Text is refused: sympy would evaluate it as Python code."""
    try:
        expression = sympy.sympify(value, strict=True)
    except sympy.SympifyError:
        expression = None
    if not isinstance(expression, sympy.Expr):
        raise SpecificationError(f"{name} is {value!r}; it is a number, or a sympy expression such as sympy.Symbol('L')")
    return expression

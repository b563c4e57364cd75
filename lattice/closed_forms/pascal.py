r"""Path counts that have a closed form: generalised Pascal triangles, identity skips, Stern's sequence.

One output unit of L unpadded layers of kernel K reaches position n by as many paths as (1 + x + ... + x^(K-1))^L has x^n:
row L of the generalised Pascal triangle. A stride of 2 under k = 3 turns it into Stern's diatomic sequence; zero padding
reflects it at the borders (`lattice.closed_forms.strips`). All results are exact Python ints.
"""

from itertools import count, pairwise
from math import inf, log2

from lattice.checks import whole
from lattice.counts.bigint import binomial, exact_ratio_sum
from lattice.errors import ResourceError, SpecificationError

__all__ = [
    "pascal_coefficient",
    "pascal_row",
    "residual_row",
    "stern",
    "stern_maximum",
    "stern_period",
]

MOST_ROW_BITS = 2**34  # of one row: 2 GiB
MOST_SUM_BITS = 2**28  # of a sum's common denominator: a minute in plain integers
MOST_PERIOD = 24  # of Stern's sequence: 2^24 integers
MOST_STERN_BITS = 2**20  # of a place in it: seconds


def pascal_row(kernel: int, depth: int) -> list[int]:
    """Row `depth` of the generalised Pascal triangle: the paths of one output of unpadded stride-1 layers (Section 3.1).

        sum_n a_n x^n = A(x) = (1 + x + ... + x^(K-1))^L = ((1 - x^K) / (1 - x))^L

    (1 - x)(1 - x^K) A' = L (1 - K x^(K-1) + (K-1) x^K) A gives one coefficient after another (L. Miller's recurrence),

        n a_n = (n - 1 + L) a_(n-1) + (n - K - L K) a_(n-K) + (L (K - 1) + K + 1 - n) a_(n-K-1),

    in three products by small numbers, whatever K. The row is a palindrome, so half of it is computed. This is faster than a
    power in python-flint followed by the conversion to Python ints, so there is no second back end.

    Parameters
    ----------
    kernel : int
        Kernel size K, at least 1.
    depth : int
        Number of layers L, at least 0.

    Returns
    -------
    list of int
        Exact counts, (kernel - 1) depth + 1 of them; entry n counts the paths to input cell n.

    Raises
    ------
    SpecificationError
        If an argument is not a whole number in its range.
    ResourceError
        If the row would take more than 2 GiB.

    Examples
    --------
    >>> pascal_row(3, 4), pascal_row(2, 5)
    ([1, 4, 10, 16, 19, 16, 10, 4, 1], [1, 5, 10, 10, 5, 1])
    """
    kernel, depth = whole("kernel", kernel, 1), whole("depth", depth, 0)
    length = (kernel - 1) * depth + 1
    _check_row(f"pascal_row({kernel}, {depth})", length, depth * log2(kernel), f"pascal_coefficient({kernel}, {depth}, n)")
    steps = (length - 1) // 2
    if kernel == 1 or depth == 0:
        row = [1]
    elif kernel == 3:
        row = [1, depth][: steps + 1]  # Miller's own form has two terms here: n a_n = (L+1-n) a_(n-1) + (2L+2-n) a_(n-2)
        older, newer = 1, depth
        for n, p, q in zip(range(2, steps + 1), count(depth - 1, -1), count(2 * depth, -1), strict=False):
            older, newer = newer, (p * newer + q * older) // n
            row.append(newer)
    else:
        row = [0] * kernel + [1]  # a_(-K) ... a_0
        behind = iter(row)  # follows the growing row at distance K
        newest, last = 1, next(behind)
        factors = zip(range(1, steps + 1), count(depth), count(1 - kernel - depth * kernel), strict=False)
        for (n, p, q), r in zip(factors, count(depth * (kernel - 1) + kernel, -1), strict=False):
            here = next(behind)
            newest = (p * newest + q * here + r * last) // n
            last = here
            row.append(newest)
        row = row[kernel:]
    return row + row[: length - len(row)][::-1]


def residual_row(kernel: int, depth: int) -> list[int]:
    """Row `depth` for residual blocks, an identity skip around an odd kernel: the paths of one output away from the borders.

        sum_d c_d x^d = (1 + x^-r + ... + x^r)^L,  K = 2 r + 1:    c_d = sum_m C(L, m) p_m(d),

    p_m being row m of the generalised Pascal triangle. For k = 3 this is ((1 + x)^2 / x)^L: c_d = C(2L, L + d).

    Parameters
    ----------
    kernel : int
        Kernel size K, odd.
    depth : int
        Number of blocks L, at least 0.

    Returns
    -------
    list of int
        Exact counts, (kernel - 1) depth + 1 of them, for the offsets d = -r L to r L.

    Raises
    ------
    SpecificationError
        If the kernel is even: it has no centre for the skip to join.
    ResourceError
        If the row would take more than 2 GiB.

    Examples
    --------
    >>> residual_row(3, 3), residual_row(5, 1)
    ([1, 6, 15, 20, 15, 6, 1], [1, 1, 2, 1, 1])
    """
    kernel, depth = whole("kernel", kernel, 1), whole("depth", depth, 0)
    if kernel % 2 == 0:
        raise SpecificationError(
            f"residual_row({kernel}, {depth}): an even kernel has no centre for the skip to join; use an odd one"
        )
    if kernel == 3:
        return pascal_row(2, 2 * depth)
    length = (kernel - 1) * depth + 1
    _check_row(f"residual_row({kernel}, {depth})", length, depth * log2(kernel + 1), "lattice.log_path_counts")
    if kernel == 1:
        return [2**depth]
    # Miller's recurrence for any polynomial f with f_0 = 1: n a_n = sum_k (k (L + 1) - n) f_k a_(n-k)
    factors = [(k, 2 if 2 * k == kernel - 1 else 1) for k in range(1, kernel)]
    row = [1]
    for n in range(1, (length - 1) // 2 + 1):
        row.append(sum((k * (depth + 1) - n) * f * row[n - k] for k, f in factors if k <= n) // n)
    return row + row[: length - len(row)][::-1]


def pascal_coefficient(kernel: int, depth: int, n: int) -> int:
    """Entry n of `pascal_row(kernel, depth)` without the row, up to a depth of 10^6 and beyond.

        a_n = sum_j (-1)^j C(L, j) C(L - 1 + n - K j, L - 1)        (inclusion and exclusion)

    Each term is the one before times a ratio of small numbers, so the sum is taken by binary splitting, with one exact
    division; n is first moved to the nearer end of the row. About n log2(L) bits are multiplied: the central coefficient of
    L = 10^6, K = 3 takes seconds with python-flint and some ten seconds without.

    Parameters
    ----------
    kernel : int
        Kernel size K, at least 1.
    depth : int
        Number of layers L, at least 0.
    n : int
        Index in the row, from 0; outside of the row the answer is 0.

    Returns
    -------
    int
        The exact count.

    Raises
    ------
    ResourceError
        If the denominator of the sum has more than 2^28 bits.

    Examples
    --------
    >>> pascal_coefficient(3, 4, 4), pascal_coefficient(3, 4, 9)
    (19, 0)
    >>> pascal_coefficient(3, 10**5, 10**5).bit_length()
    158487
    """
    kernel, depth = whole("kernel", kernel, 1), whole("depth", depth, 0)
    n = whole("n", n, -inf, inf)
    n = min(n, (kernel - 1) * depth - n)
    if n <= 0:
        return int(n == 0)
    terms = n // kernel
    bits = terms * (kernel + 1) * log2(n + depth)
    if bits > MOST_SUM_BITS:
        raise ResourceError(
            f"pascal_coefficient({kernel}, {depth}, n) at the distance {n} from the end of its row: a sum of {terms} terms "
            f"over a denominator of {bits:.1e} bits (the limit is {MOST_SUM_BITS:.1e}); lattice.gaussian_limit approximates "
            f"it, and coefficients nearer to the end cost less"
        )
    ratios = []
    for j in range(terms):
        numerator, denominator = j - depth, j + 1
        top, rest = depth - 1 + n - kernel * j, n - kernel * j
        for r in range(kernel):
            numerator *= rest - r
            denominator *= top - r
        ratios.append((numerator, denominator))
    return exact_ratio_sum(binomial(depth - 1 + n, n), ratios)


# --- k = 3, stride 2: Stern's diatomic sequence ------------------------------------------------------------------------------


def stern(n: int) -> int:
    """Entry n of Stern's diatomic sequence: a(0) = 0, a(1) = 1, a(2n) = a(n), a(2n+1) = a(n) + a(n+1).

    a(n+1) is the number of ways to write n as a sum of powers of two, each used at most twice: the coefficient of x^n in
    prod_l (1 + x^(2^l) + x^(2 2^l)), so position n < 2^L of one output of L layers with k = 3, s = 2 has a(n+1) paths.

    Parameters
    ----------
    n : int
        Index in the sequence, at least 0.

    Returns
    -------
    int
        The exact value a(n).

    Raises
    ------
    ResourceError
        If n has too many bits.

    Examples
    --------
    >>> [stern(n) for n in range(12)]
    [0, 1, 1, 2, 1, 3, 2, 3, 1, 4, 3, 5]
    """
    n = whole("n", n, 0, inf)
    if n.bit_length() > MOST_STERN_BITS:
        raise ResourceError(f"stern of a number of {n.bit_length()} bits (the limit is {MOST_STERN_BITS})")
    one, other = 1, 0
    while n:
        if n & 1:
            other += one
        else:
            one += other
        n >>= 1
    return other


def stern_period(depth: int) -> list[int]:
    """One period, 2^L positions, of the paths from all outputs to the interior of unpadded layers with k = 3, s = 2.

        sum_j #p_(j -> i) = a(2^L + (i mod 2^L) + 1) = a(r + 1) + a(2^L - r - 1),  r = i mod 2^L

    since the two outputs that see an interior position contribute a(r+1) and its mirror image; a is `stern`.

    Parameters
    ----------
    depth : int
        Number of layers L, from 0 to 24.

    Returns
    -------
    list of int
        Exact counts for r = 0, ..., 2^depth - 1.

    Raises
    ------
    ResourceError
        If the depth is more than 24; `stern` gives single entries, `stern_maximum` the largest.

    Examples
    --------
    >>> stern_period(3)
    [4, 3, 5, 2, 5, 3, 4, 1]
    """
    depth = whole("depth", depth, 0)
    if depth > MOST_PERIOD:
        raise ResourceError(
            f"stern_period({depth}) has 2^{depth} entries (the limit is 2^{MOST_PERIOD}); stern(2**{depth} + r + 1) gives one "
            f"of them, and stern_maximum({depth}) the largest"
        )
    row = [1, 1]  # a(2^l), ..., a(2^(l+1))
    for _ in range(depth):
        between = [left + right for left, right in pairwise(row)]
        row = [entry for pair in zip(row, between, strict=False) for entry in pair] + row[-1:]
    return row[1:]


def stern_maximum(depth: int) -> int:
    """The largest entry of `stern_period(depth)`: the Fibonacci number F(L + 2), against a least entry of 1.

        max over the interior of sum_j #p_(j -> i) = max of a(n) for 2^L <= n <= 2^(L+1) = F(L + 2)

    reached at n = (4 2^L - (-1)^L) / 3 (Lehmer 1929). It is the worst bias of `depth` layers with k = 3, s = 2 on one axis.

    Parameters
    ----------
    depth : int
        Number of layers L, at least 0.

    Returns
    -------
    int
        The exact maximum.

    Raises
    ------
    ResourceError
        If the number would be too long to add up.

    Examples
    --------
    >>> [stern_maximum(depth) for depth in range(6)]
    [1, 2, 3, 5, 8, 13]
    """
    depth = whole("depth", depth, 0)
    if depth >= MOST_STERN_BITS:
        raise ResourceError(
            f"stern_maximum({depth}) has {0.694 * depth:.1e} bits, sums of {depth} long integers (the limit is "
            f"{MOST_STERN_BITS}); its logarithm is about {depth + 2} log(1.618) - log(5) / 2"
        )
    return stern((4 * 2**depth - (-1) ** depth) // 3)


# --- requests that make no sense, or no memory -------------------------------------------------------------------------------


def _check_row(request: str, length: int, bits: float, cheaper: str) -> None:
    total = length * bits / 2  # the row is a palindrome, and the ints of its halves are shared
    if total > MOST_ROW_BITS:
        raise ResourceError(
            f"{request} has {length} entries of up to {bits:.1e} bits, about {total / 2**33:.0f} GiB (the limit is "
            f"{MOST_ROW_BITS / 2**33:.0f}); {cheaper} is cheaper"
        )

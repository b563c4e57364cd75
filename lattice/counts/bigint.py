r"""Products and exact quotients of very large integers: python-flint where it is installed, else fast Fourier transforms.

Python multiplies n-bit integers in n^1.58 steps and divides them in n^2; closed forms at depth 10^6 need 10^7 bits. Both
ways here take about n log n and give the same integers.
"""

from math import comb
from typing import Any

import numpy as np

__all__ = ["binomial", "exact_quotient", "exact_ratio_sum", "product"]

Array = np.ndarray[Any, Any]

FEW_BITS = 60_000  # below this Python's own product is faster
MOST_BITS = 2**31  # of a product: keeps the rounding errors below far from 1/2


def product(a: int, b: int) -> int:
    """a * b, by a Fourier transform of the bytes where both are long.

    A coefficient of the product of two byte strings of length n is at most 255^2 n; float64 transforms give it to within
    6 * 2^-53 * log2(2n) * 255^2 n (Higham, "Accuracy and Stability", 24.2), less than 0.1 for n up to 10^8, so rounding is
    exact.

    >>> product(3**200000, 5**150000) == 3**200000 * 5**150000
    True
    """
    bits = a.bit_length() + b.bit_length()
    if min(a.bit_length(), b.bit_length()) < FEW_BITS or bits > MOST_BITS:
        return a * b
    from scipy import fft  # a quarter of a second to import, for integers that few ever need

    length = bits // 8 + 2
    size = fft.next_fast_len(length, real=True)
    spectrum = fft.rfft(_bytes(a), size)
    spectrum *= spectrum if a is b else fft.rfft(_bytes(b), size)
    coefficients = np.rint(fft.irfft(spectrum, size)[:length]).astype(np.int64)
    total = 0
    for byte in range(6):  # each coefficient is a number of at most six bytes: add six integers, shifted by a byte each
        plane = ((coefficients >> (8 * byte)) & 255).astype(np.uint8)
        total += int.from_bytes(plane.tobytes(), "little") << (8 * byte)
    return total if (a < 0) == (b < 0) else -total


def _bytes(number: int) -> Array:
    magnitude = abs(number)
    return np.frombuffer(magnitude.to_bytes(magnitude.bit_length() // 8 + 1, "little"), dtype=np.uint8).astype(float)


def exact_quotient(a: int, b: int) -> int:
    """a / b where b > 0 divides a, from the low end: a * b^-1 modulo 2^(bits of the quotient), by Newton's iteration.

    >>> exact_quotient(3**9000 * 7**500, 3**8000) == 3**1000 * 7**500
    True
    """
    bits = a.bit_length() - b.bit_length() + 2
    if min(bits, b.bit_length()) < FEW_BITS:
        return a // b
    twos = (b & -b).bit_length() - 1
    odd, dividend = b >> twos, abs(a) >> twos
    inverse, known = 1, 1
    while known < bits:  # inverse * odd = 1 modulo 2^known
        known = min(2 * known, bits)
        mask = (1 << known) - 1
        error = product(odd & mask, inverse) & mask
        inverse = product(inverse, (2 - error) & mask) & mask
    mask = (1 << bits) - 1
    quotient = product(dividend & mask, inverse) & mask
    return quotient if a >= 0 else -quotient


def binomial(n: int, k: int) -> int:
    """C(n, k) for n >= 0, from its prime factors where it is long: the exponent of p is the number of carries (Kummer).

    >>> binomial(9, 4), binomial(9, 12), binomial(200_000, 90_000) == comb(200_000, 90_000)
    (126, 0, True)
    """
    k = min(k, n - k)
    if k < 20_000:
        return comb(n, k) if k >= 0 else 0
    sieve = np.ones(n + 1, dtype=bool)
    sieve[:2] = False
    for prime in range(2, int(n**0.5) + 1):
        if sieve[prime]:
            sieve[prime * prime :: prime] = False
    primes = np.flatnonzero(sieve)
    exponents, power = np.zeros(len(primes), dtype=np.int64), primes.copy()
    while (inside := power <= n).any():
        exponents[inside] += n // power[inside] - k // power[inside] - (n - k) // power[inside]
        power[inside] *= primes[inside]
    present = exponents > 0
    factors = [p**e for p, e in zip(primes[present].tolist(), exponents[present].tolist(), strict=True)]
    while len(factors) > 1:
        factors = [product(*pair) for pair in zip(factors[::2], factors[1::2], strict=False)] + factors[len(factors) // 2 * 2 :]
    return int(factors[0])


def exact_ratio_sum(first: int, ratios: list[tuple[int, int]]) -> int:
    """first * (1 + r_0 + r_0 r_1 + r_0 r_1 r_2 + ...) for ratios r_j = p_j / q_j, q_j > 0, where the sum is an integer.

    Binary splitting: a run of ratios is kept as P = prod p, Q = prod q and T, its sum being T / Q; two runs join to
    (P P', Q Q', T Q' + P T'). One exact division at the end.

    >>> exact_ratio_sum(1, [(5, 1), (4, 2), (3, 3), (2, 4), (1, 5)])  # the binomials of 5
    32
    """
    try:
        from flint import fmpz
    except ImportError:
        return int(_ratio_sum(first, ratios, int, product, exact_quotient))
    return int(_ratio_sum(fmpz(first), ratios, fmpz, lambda a, b: a * b, lambda a, b: a // b))


def _ratio_sum(first: Any, ratios: list[tuple[int, int]], integer: Any, times: Any, divide: Any) -> Any:
    if not ratios:
        return first
    runs = []
    for start in range(0, len(ratios), 8):  # short runs in machine-sized steps
        numerator, denominator, total = 1, 1, 0
        for p, q in ratios[start : start + 8]:
            numerator *= p
            denominator *= q
            total = total * q + numerator
        runs.append((integer(numerator), integer(denominator), integer(total)))
    while len(runs) > 1:
        joined = [
            (times(p, r), times(q, s), times(t, s) + times(p, u))
            for (p, q, t), (r, s, u) in zip(runs[::2], runs[1::2], strict=False)
        ]
        runs = joined + runs[len(joined) * 2 :]
    _, denominator, total = runs[0]
    return divide(times(first, denominator + total), denominator)

r"""Moments of functions that are polynomials between kinks, closed: hard swish, ReLU6, hard tanh, hard sigmoid, squares.

About the mean m of z ~ N(m, s^2) such a function is the polynomial P of the piece that m lies in, plus one term for each kink,
a polynomial of how far z is beyond it, seen from m:

    phi(m + s x) = P(x) + sum over kinks of J((s (x - h))+) or J((s (-x - h))+),    h = |kink - m| / s >= 0,

so that nothing that lies beyond a kink is written as a difference of what lies on this side. phi^2, phi' and phi'^2 are such
sums too, with moments T_j of one tail; E[phi(z) phi(z')] has those of two, M_ij (`landscape.gates.gaussian.normal`), and

    E[P(x) P(y)] = sum over n of n! r^n c_n^2    for P = sum of c_n He_n.

Where s is many times the distance of two kinks their terms cancel; how far is known, and such laws are left to sums.
"""

from dataclasses import dataclass
from functools import cached_property
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import polynomial

from landscape.gates.gaussian.normal import FAR, REACH, Sized, tail_products, tails

__all__ = ["Pieces"]

Array = np.ndarray[Any, Any]
Coefficients = tuple[float, ...]
KNOWN = 1e-11  # of a moment: what rounding may be
ROUGHLY = 1e-8  # of E[phi^2]: what it may be in a tail
ROUNDING = 2.0**-52
MOST = 4  # the degree of phi^2
PRODUCT = 2  # the place of E[phi phi']


@dataclass(frozen=True)
class Pieces:
    """The polynomials, of degree 2 at most, of a continuous function between kinks: coefficients of 1, z, z^2.

    >>> relu6 = Pieces((0.0, 6.0), ((0.0,), (0.0, 1.0), (6.0,)))
    >>> found, known = relu6.moments(np.zeros(1), np.ones(1), np.zeros(1))
    >>> found.round(6), known
    (array([[0.398942, 0.5     , 0.159155, 0.5     , 0.5     ]]), array([ True]))
    """

    kinks: Coefficients
    polynomials: tuple[Coefficients, ...]

    @cached_property
    def _needed(self) -> list[list[Coefficients]]:
        """The pieces of phi, phi^2, phi'^2 and phi'."""
        found = []
        for own in self.polynomials:
            slope = tuple(polynomial.polyder(own))
            found.append([own, tuple(polynomial.polymul(own, own)), tuple(polynomial.polymul(slope, slope)), slope])
        return [list(each) for each in zip(*found, strict=True)]

    def moments(self, mean: Array, variance: Array, correlation: Array) -> tuple[Array, Array]:
        """E[phi], E[phi^2], E[phi phi'], E[phi'^2] and E[phi'] of laws, (laws, 5), and of which laws all are known.

        Not known are those of no variance, of correlation -1, and where rounding is more than 1e-11 of a moment; of a product
        of values that lie beyond 8.5 deviations more than 1e-8 of E[phi^2].
        """
        found, known = np.zeros((len(mean), 5)), np.zeros(len(mean), dtype=bool)
        piece = np.searchsorted(self.kinks, mean)
        for place in range(len(self.polynomials)):
            there = np.flatnonzero((piece == place) & (variance > 0))
            if len(there):
                with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                    found[there], known[there] = self._around(place, mean[there], np.sqrt(variance[there]), correlation[there])
        return found, known

    def _around(self, place: int, m: Array, s: Array, r: Array) -> tuple[Array, Array]:
        """The moments of laws whose mean lies in this piece."""
        away = []
        for number, kink in enumerate(self.kinks):
            side = -1 if number < place else 1
            h = side * (kink - m) / s
            away.append(_Beyond(side, kink, h, tails(np.minimum(h, FAR), MOST), h < FAR))
        single = [self._mean(pieces, place, m, s, away) for pieces in self._needed]
        product = self._product(place, m, s, r, away)
        one, apart = r == 1, r == 0
        ends = zip(product, single[1], single[0], strict=True)
        product = Sized(*(np.where(one, power, np.where(apart, mean**2, own)) for own, power, mean in ends))
        found = [single[0], single[1], product, *single[2:]]
        power, gain = single[1].value, single[2].value
        known = one | (np.abs(r) < 1)
        scales = np.sqrt(power), power, np.abs(product.value), gain, np.sqrt(gain)
        for number, (part, scale) in enumerate(zip(found, scales, strict=True)):
            near = part.size * ROUNDING <= KNOWN * scale
            if number == PRODUCT:  # in a tail that sums do not reach what is closed is better
                near |= (part.size * ROUNDING <= ROUGHLY * power) & np.all([each.h > REACH for each in away], axis=0)
            known &= np.isfinite(part.value) & near
        return np.stack([part.value for part in found], axis=1), known

    def _jump(self, pieces: list[Coefficients], beyond: "_Beyond") -> Array:
        """What a function is more beyond a kink than before it, as a polynomial of the distance from it."""
        number = self.kinks.index(beyond.kink)
        below, above = (_about(pieces[k], beyond.kink) for k in (number, number + 1))
        found = np.zeros(max(len(below), len(above)))
        found[: len(above)] += above
        found[: len(below)] -= below
        return found * float(beyond.side) ** np.arange(1, len(found) + 1)

    def _base(self, piece: Coefficients, m: Array, s: Array) -> list[Array]:
        """The polynomial of a piece as one of x, z = m + s x: coefficients, from those about 0 or the nearest kink."""
        centres = np.array(sorted({0.0, *self.kinks}))
        nearest = np.abs(m[:, None] - centres).argmin(axis=1)
        about = np.zeros((len(piece), len(m)))
        for number, centre in enumerate(centres):
            there = nearest == number
            own = _about(piece, centre)
            for order in range(len(piece)):
                about[order, there] = polynomial.polyval(m[there] - centre, polynomial.polyder(own, order)) / factorial(order)
        return [row * s**order for order, row in enumerate(about)]

    def _mean(self, pieces: list[Coefficients], place: int, m: Array, s: Array, away: list["_Beyond"]) -> Sized:
        """E[f(z)] of a function with these pieces."""
        base = self._base(pieces[place], m, s)
        parts = [part * factorial(n) / (2 ** (n // 2) * factorial(n // 2)) for n, part in enumerate(base) if n % 2 == 0]
        for one in away:
            jump = self._jump(pieces, one)
            parts += [np.where(one.near, a * s**j * one.tails[j], 0.0) for j, a in enumerate(jump) if a]
        return _sum(parts)

    def _product(self, place: int, m: Array, s: Array, r: Array, away: list["_Beyond"]) -> Sized:
        """E[phi(z) phi(z')]."""
        pieces = self._needed[0]
        base = (self._base(pieces[place], m, s) + [np.zeros_like(m)] * 2)[:3]
        parts = [(base[0] + base[2]) ** 2, r * base[1] ** 2, 2 * r**2 * base[2] ** 2]
        jumps = [self._jump(pieces, one) for one in away]
        for jump, (side, _, h, t, near) in zip(jumps, away, strict=True):
            # E[P(x) | y] at y = side (h + (side y - h))
            constant, linear, square = base[0] + base[2] * (1 - r**2), side * r * base[1], r**2 * base[2]
            for j, a in enumerate(jump):
                if a:
                    whole = [constant * t[j], linear * t[j + 1], linear * h * t[j]]
                    if len(pieces[place]) > 2:
                        whole += [square * t[j + 2], 2 * square * h * t[j + 1], square * h**2 * t[j]]
                    parts += [np.where(near, 2 * a * s**j * one, 0.0) for one in whole]
        total = _sum(parts)
        for first, one in enumerate(away):
            for second, other in enumerate(away[first:], start=first):
                there = np.flatnonzero(one.near & other.near & (np.abs(r) < 1))
                if len(there):
                    own = (jumps[first], jumps[second])
                    pair = _both_beyond(own, one, other, there, s[there], r[there])
                    for sums, more in zip(total, pair, strict=True):
                        sums[there] += (1 if first == second else 2) * more
        return total


class _Beyond(NamedTuple):
    """A kink: on which side of the mean (1: above), where, how many deviations off, the moments T_j of what lies beyond it, and
    at which laws that is anything."""

    side: int
    kink: float
    h: Array
    tails: list[Array]
    near: Array


def _both_beyond(jumps: tuple[Array, Array], one: _Beyond, other: _Beyond, there: Array, s: Array, r: Array) -> Sized:
    """E[J(x) J'(y)] of what two functions gain beyond two kinks."""
    degree = max(map(len, jumps)) - 1
    rest = np.sqrt((1 - r) * (1 + r))
    value, size = np.zeros_like(s), np.zeros_like(s)
    for (i, j), part in tail_products(one.h[there], other.h[there], one.side * other.side * r, rest, degree).items():
        if i < len(jumps[0]) and j < len(jumps[1]) and jumps[0][i] and jumps[1][j]:
            factor = jumps[0][i] * jumps[1][j] * s ** (i + j)
            value += factor * part.value
            size += np.abs(factor) * part.size
    return Sized(value, size)


def _sum(parts: list[Array]) -> Sized:
    return Sized(np.sum(parts, axis=0), np.sum(np.abs(parts), axis=0))


def _about(coefficients: Coefficients, point: float) -> Array:
    """The coefficients of a polynomial about a point."""
    orders = range(len(coefficients))
    return np.array([polynomial.polyval(point, polynomial.polyder(coefficients, n)) / factorial(n) for n in orders])

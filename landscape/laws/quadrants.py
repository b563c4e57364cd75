r"""Two gates over jointly Gaussian values: the moments of what they give and of its derivatives, over quadrants."""

from math import pi
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.averaging import ratio

__all__ = ["Moments", "truncated"]

Array = np.ndarray[Any, Any]
SINGULAR = 1e-12  # 1 - rho^2 below which two values are one


class Moments(NamedTuple):
    """E[u v], E[u dv], E[du v], E[du dv] of two layers: (channels or 1, coordinates or 1, positions, positions)."""

    uu: Array
    ud: Array
    du: Array
    dd: Array


def truncated(
    cross: Moments, own: tuple[Array, ...], other: tuple[Array, ...], phi: tuple[float, float], psi: tuple[float, float]
) -> Moments:
    """The moments of phi(u), psi(v) and their derivatives, as the head of `landscape.laws.infinite_width` has them.

    `own` is E[u^2], E[u du] of u; `other` those of v; `phi`, `psi` the slopes below and above 0.
    """
    (uu, u_du), (vv, v_dv) = own, other
    uv, u_dv, v_du = cross.uu, cross.ud, cross.du
    su, sv = np.sqrt(uu), np.sqrt(vv)
    dead_u, dead_v = uu <= 0, vv <= 0
    rho = np.clip(ratio(uv, _geometric_mean(uu, vv)), -1, 1)
    ones, uus, uvs, vvs = _slope_moments(rho, (uu, uv, vv), (dead_u, dead_v), phi, psi)
    room = (1 - rho) * (1 + rho)
    apart = (room > SINGULAR) & ~dead_u & ~dead_v
    alone_u, alone_v = ~apart & ~dead_u, ~apart & dead_u & ~dead_v

    def regress(with_u: Array, with_v: Array) -> tuple[Array, Array]:
        """The coefficients of u and of v in the regression on both, or on the one that is there."""
        x, y = ratio(with_u, su), ratio(with_v, sv)
        on_u = np.where(apart, ratio(ratio(x - rho * y, room), su), 0.0) + np.where(alone_u, ratio(x, su), 0.0)
        on_v = np.where(apart, ratio(ratio(y - rho * x, room), sv), 0.0) + np.where(alone_v, ratio(y, sv), 0.0)
        return on_u, on_v

    a, a2 = regress(u_du, v_du)
    b, b2 = regress(u_dv, v_dv)
    rest = cross.dd - (a * b * uu + (a * b2 + a2 * b) * uv + a2 * b2 * vv)
    dd = a * b * uus + (a * b2 + a2 * b) * uvs + a2 * b2 * vvs + rest * ones
    return Moments(uvs, b * uus + b2 * uvs, a * uvs + a2 * vvs, dd)


def _geometric_mean(a: Array, b: Array) -> Array:
    """sqrt(a b), exactly a where b is a, and where the product would leave the range of float64 too."""
    (a, left), (b, right) = np.frexp(a), np.frexp(b)
    power = left + right
    return np.ldexp(np.sqrt(a * b * (1 + power % 2)), power // 2)


def _slope_moments(
    rho: Array,
    second: tuple[Array, Array, Array],
    dead: tuple[Array, Array],
    phi: tuple[float, float],
    psi: tuple[float, float],
) -> list[Array]:
    """E[phi'(u) psi'(v) f] for f = 1, u^2, u v, v^2, from the moments over quadrants; at 0 torch takes the slope below."""
    (uu, uv, vv), (dead_u, dead_v) = second, dead
    scale = _geometric_mean(uu, vv)
    s, t = np.sqrt(1 - rho**2), pi - np.arccos(rho)
    both = (t / (2 * pi), uu * (t + rho * s) / (2 * pi), scale * (s + rho * t) / (2 * pi), vv * (t + rho * s) / (2 * pi))
    half = (np.full((), 0.5), uu / 2, uv / 2, vv / 2)  # over u > 0 alone, or v > 0 alone
    full = (np.ones(()), uu, uv, vv)
    step_u, step_v = phi[1] - phi[0], psi[1] - psi[0]
    zero_u, zero_v = (0.0 if slopes_ == (-1.0, 1.0) else slopes_[0] for slopes_ in (phi, psi))  # abs'(0) = 0
    result = []
    for all_, one_side, quadrant in zip(full, half, both, strict=True):
        value = phi[0] * psi[0] * all_ + (phi[0] * step_v + psi[0] * step_u) * one_side + step_u * step_v * quadrant
        value = np.where(dead_u, zero_u * (psi[0] * all_ + step_v * one_side), value)
        value = np.where(dead_v, zero_v * (phi[0] * all_ + step_u * one_side), value)
        result.append(np.where(dead_u & dead_v, zero_u * zero_v * all_, value))
    return result

r"""Given inputs: E[(dh_j / dx_i)^2] in the limit of infinitely many channels, exact for ReLU under a pooled head too.

With u_p the value of one channel at position p and du_p = du_p / dx_i for ONE input coordinate i, the moments

    E[u_p v_q],    E[u_p dv_q],    E[du_p v_q],    E[du_p dv_q]

of any two layers close under every op: fresh weights sum them over channels and over pairs with the same tap; a fixed map A
gives A M B'; of a gate phi over jointly Gaussian u, v they are truncated Gaussian moments. With du = a u + a' v + e and
dv = b u + b' v + e' (regressions; e, e' independent of u, v), and T(f) = E[phi'(u) psi'(v) f],

    E[phi'(u) du psi'(v) dv] = a b T(u^2) + (a b' + a' b) T(u v) + a' b' T(v^2) + E[e e'] T(1),

and for a ReLU, rho the correlation, s = sqrt(1 - rho^2), t = pi - arccos(rho), the T over the quadrant u, v > 0 are
t / 2 pi, sigma_u^2 (t + rho s) / 2 pi, sigma_u sigma_v (s + rho t) / 2 pi, sigma_v^2 (t + rho s) / 2 pi.
The cost is positions^2 of every layer for every input coordinate: for small nets.
"""

from functools import reduce
from math import prod
from typing import Any

import numpy as np

from landscape.laws.quadrants import Moments, truncated
from landscape.prior import Prior
from landscape.structure.arrays import tap_cells
from landscape.structure.plan import fixed_map
from landscape.structure.signs import has_slopes, slopes
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    Concat,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Norm,
    Pad,
    Pool,
    ResourceError,
    SpecificationError,
    Unit,
    UnsupportedError,
    Upsample,
)
from lattice.network.ops import Pooling, WeightedWindow, Windowed

__all__ = ["fits", "given_input_moments", "refusals"]

Array = np.ndarray[Any, Any]
MOST_BYTES = 2**31
MOST_TRAFFIC = 2**36  # bytes of moments over all input coordinates
NOT_GAUSSIAN = "a gate over something that is not Gaussian (a gate or the data themselves, added or not)"
LINEAR = (Add, Concat, Flatten, Dropout, Norm, Pool, AdaptivePool, GlobalPool, Pad, Blur, Upsample)


def refusals(lattice: Lattice) -> tuple[str, ...]:
    """Why the law does not cover this lattice, each with its layer; empty where it does.

    >>> from lattice import Conv
    >>> from lattice import residual
    >>> relu = Activation("relu")
    >>> refusals(Lattice.chain((1, 5), [Conv(4, 3, padding=1), relu, GlobalPool()]))
    ()
    >>> refusals(Lattice.chain((1, 5), [Conv(4, 3), relu, residual([Conv(4, 1)]), relu]))
    ('activation2: a gate over something that is not Gaussian (a gate or the data themselves, added or not)',)
    """
    reasons = []
    leaves: list[frozenset[str]] = []  # what each node is a fixed linear map of
    for node in lattice.nodes:
        op = node.op
        below = frozenset[str]().union(*(leaves[i] for i in node.inputs))
        if isinstance(op, Activation):
            if not has_slopes(op):
                reasons.append(f"{node.name}: {op.name} is not piecewise linear with its kink at 0")
            if below - {"side by side"} != {"fresh"}:
                reasons.append(f"{node.name}: {NOT_GAUSSIAN}")
            leaves.append(frozenset({"gate"}))
        elif isinstance(op, Dense | WeightedWindow):
            leaves.append(frozenset({"fresh"}))
        elif isinstance(op, Input):
            leaves.append(frozenset({"data"}))
        else:
            plain = not isinstance(op, Pooling) or op.kind == "avg"
            if not isinstance(op, LINEAR) or not plain or (isinstance(op, Norm) and op.kind not in ("batch", "scale")):
                reasons.append(f"{node.name}: {op} has no rule")
            if isinstance(op, Add) and {"data", "gate"} <= below:
                reasons.append(f"{node.name}: adds a gate to the data themselves")
            if isinstance(op, Add) and "side by side" in below:
                reasons.append(f"{node.name}: adds a concatenation to another branch")
            leaves.append(below | {"side by side"} if isinstance(op, Concat) else below)
    return tuple(dict.fromkeys(reasons))


def given_input_moments(prior: Prior, inputs: Array, *, output: Any = None) -> Array:
    """E[(dh_j / dx_i)^2] over weights in the wide limit, output units j (or the one named) and input channels; float64 map.

    `inputs` (N, channels, *spatial) are averaged over. Raises `UnsupportedError` with the `refusals` where there are any,
    `SpecificationError` for inputs that do not fit, `ResourceError` where 2 GiB would not be enough.

    >>> from lattice import Conv
    >>> net = Lattice.chain(
    ...     (1, 3),
    ...     [Conv(9, 3, padding=1), Activation("relu"), GlobalPool(), Flatten(), Dense(1)],
    ... )
    >>> prior = Prior(net, {"conv1": 2 / 3, "dense1": 1 / 9})
    >>> given_input_moments(prior, np.array([[[1.0, -2.0, 0.5]]])).round(6)
    array([0.073263, 0.164316, 0.071997])
    """
    lattice = prior.lattice
    reasons = refusals(lattice)
    if reasons:
        listed = "\n".join(f"  {reason}" for reason in reasons)
        raise UnsupportedError(f"the infinite-width law for given inputs does not cover this lattice:\n{listed}")
    images = np.asarray(inputs, dtype=np.float64)
    if images.shape[1:] != lattice.input_shape or not len(images):
        expected = ", ".join(map(str, lattice.input_shape))
        raise SpecificationError(f"inputs have shape {images.shape}; the lattice reads (N, {expected})")
    coordinates = prod(lattice.input_shape)
    bytes_each = _bytes(lattice)
    if bytes_each > MOST_BYTES:
        raise ResourceError(
            f"the moments between all positions of this lattice take {bytes_each / 2**30:.1f} GiB for one input coordinate; "
            "give a smaller input, or predict without inputs="
        )
    chunk = max(1, min(coordinates, MOST_BYTES // 4 // bytes_each))
    total = np.zeros(coordinates)
    for image in images:
        for start in range(0, coordinates, chunk):
            here = np.arange(start, min(start + chunk, coordinates))
            total[here] += _Sweep(prior, image, here).output(output)
    return np.asarray(total.reshape(lattice.input_shape).mean(axis=0) / len(images))


def fits(lattice: Lattice) -> bool:
    """Is this net small enough for the moments between all of its positions: 2 GiB, and about a minute an input?

    >>> from lattice import Conv
    >>> (
    ...     fits(Lattice.chain((3, 8, 8), [Conv(8, 3)])),
    ...     fits(Lattice.chain((3, 224, 224), [Conv(8, 3)])),
    ... )
    (True, False)
    """
    return _bytes(lattice) <= min(MOST_BYTES, MOST_TRAFFIC // prod(lattice.input_shape))


def _bytes(lattice: Lattice) -> int:
    """What the moments take for one input coordinate."""
    pairs = sum(_positions(lattice, position) ** 2 for position in range(len(lattice.nodes)))
    return 4 * 8 * (pairs + lattice.input_shape[0] * _positions(lattice, 0) ** 2)


def _positions(lattice: Lattice, position: int) -> int:
    """Over how many positions the moments of a node run: flat features keep those from before they were flattened."""
    shape = lattice.shapes[position]
    node = lattice.nodes[position]
    if len(shape) > 1:
        return prod(shape[1:])
    return 1 if not node.inputs or isinstance(node.op, Dense) else _positions(lattice, node.inputs[0])


class _Sweep:
    """The moments between the layers of one lattice for one input and some of its coordinates, computed as asked for."""

    def __init__(self, prior: Prior, image: Array, coordinates: Array) -> None:
        self.prior, self.lattice = prior, prior.lattice
        self.image, self.coordinates = image, coordinates
        self.known: dict[tuple[int, int], Moments] = {}

    def output(self, output: Any) -> Array:
        """E[dh_j^2] for each coordinate, averaged over the output units or the channels of one position, or of one unit."""
        top = len(self.lattice.nodes) - 1
        squares = np.diagonal(self.between(top, top).dd, axis1=2, axis2=3)  # (channels, coordinates, positions)
        if output is None:
            return np.asarray(squares.mean(axis=(0, 2)))
        unit = self.lattice.unit(output)
        spatial = self.lattice.output_shape[1:]
        where = int(np.ravel_multi_index(unit.position, spatial)) if spatial else 0
        channel = unit.channel
        if spatial and not isinstance(output, Unit):
            return np.asarray(squares[:, :, where].mean(axis=0))
        if not spatial and squares.shape[2] > 1:  # features of a flattened layer
            channel, where = divmod(unit.channel, squares.shape[2])
        return np.asarray(squares[channel if squares.shape[0] > 1 else 0, :, where])

    def between(self, a: int, b: int) -> Moments:
        """The moments of nodes a and b, of equal channels."""
        if (a, b) not in self.known:
            if (b, a) in self.known:
                m = self.known[b, a]
                flipped = (m.uu, m.du, m.ud, m.dd)
                return Moments(*(np.swapaxes(part, 2, 3) for part in flipped))
            self.known[a, b] = self._compute(a, b)
        return self.known[a, b]

    def _compute(self, a: int, b: int) -> Moments:
        nodes = self.lattice.nodes
        if isinstance(nodes[a].op, LINEAR):
            return self._expanded(a, b)
        if isinstance(nodes[b].op, LINEAR):
            m = self._expanded(b, a)
            return Moments(*(np.swapaxes(part, 2, 3) for part in (m.uu, m.du, m.ud, m.dd)))
        if isinstance(nodes[a].op, Input) and a == b:
            return self._data()
        if isinstance(nodes[a].op, Activation) or isinstance(nodes[b].op, Activation):
            return self._gated(a, b)
        if a == b:
            return self._fresh(a)
        return self._nothing(a, b)  # fresh weights of mean zero against anything that does not have them

    def _nothing(self, a: int, b: int) -> Moments:
        zero = np.zeros((1, 1, _positions(self.lattice, a), _positions(self.lattice, b)))
        return Moments(zero, zero, zero, zero)

    def _data(self) -> Moments:
        """u = x, du_p = 1 at the coordinate's own channel and position."""
        channels = self.image.shape[0]
        x = self.image.reshape(channels, 1, -1)
        one = np.eye(self.image.size)[self.coordinates].reshape(len(self.coordinates), channels, -1).swapaxes(0, 1)
        ud = x[..., :, None] * one[..., None, :]
        return Moments(x[..., :, None] * x[..., None, :], ud, ud.swapaxes(2, 3), one[..., :, None] * one[..., None, :])

    def _expanded(self, a: int, b: int) -> Moments:
        """Node a is a fixed linear map of its inputs."""
        node = self.lattice.nodes[a]
        op = node.op
        if isinstance(op, Concat):
            return self._concatenated(a, b)
        parts = [self.between(i, b) for i in node.inputs]
        m = Moments(*(reduce(np.add, part) for part in zip(*parts, strict=True)))
        if isinstance(op, Norm):
            factor = np.sqrt(np.asarray(self.prior.factors.get(node.name, 1.0), dtype=float)).reshape(-1, 1, 1, 1)
            return Moments(*(factor * part for part in m))
        if isinstance(op, Windowed):
            spatial = self.lattice.input_shapes(node)[0][1:]
            matrix: Array = np.ones((1, 1))
            for axis in range(len(spatial)):
                matrix = np.kron(matrix, fixed_map(op, axis, spatial).values)
            return Moments(*(matrix @ part for part in m))
        return m

    def _concatenated(self, a: int, b: int) -> Moments:
        node = self.lattice.nodes[a]
        assert a == b, "a concatenation is not added to another branch"
        counts = [self.lattice.shapes[i][0] for i in node.inputs]
        parts = [self.between(i, i) for i in node.inputs]

        def joined(pieces: list[Array]) -> Array:
            coordinates = max(piece.shape[1] for piece in pieces)
            full = [np.broadcast_to(p, (n, coordinates, *p.shape[2:])) for p, n in zip(pieces, counts, strict=True)]
            return np.concatenate(full)

        return Moments(*(joined(list(pieces)) for pieces in zip(*parts, strict=True)))

    def _fresh(self, a: int) -> Moments:
        """V sum over input channels, and over pairs that one tap reads."""
        node = self.lattice.nodes[a]
        op, shape = node.op, self.lattice.input_shapes(node)[0]
        below = self.between(node.inputs[0], node.inputs[0])
        variance = self.prior.variances[node.name]
        if isinstance(op, Dense):
            positions = _positions(self.lattice, node.inputs[0])
            channels = shape[0] // positions
            sums = (np.trace(_summed(part, channels, 1), axis1=2, axis2=3)[..., None, None] for part in below)
            return Moments(*(variance * part for part in sums))
        assert isinstance(op, WeightedWindow)
        readings = [cells.ravel() for cells in tap_cells(op, shape[1:])]
        sums = (_summed(part, shape[0], op.groups) for part in below)
        collected = (reduce(np.add, [_read(part, cells) for cells in readings]) for part in sums)
        return Moments(*(_per_output(variance * part, op.channels) for part in collected))

    def _gated(self, a: int, b: int) -> Moments:
        """phi(u) against psi(v), u and v jointly Gaussian; a node that is no gate is its own u, with slope 1."""
        u, phi = self._below(a)
        v, psi = self._below(b)
        cross, first, second = self.between(u, v), self.between(u, u), self.between(v, v)
        own = tuple(np.diagonal(part, axis1=2, axis2=3)[..., :, None] for part in (first.uu, first.ud))
        other = tuple(np.diagonal(part, axis1=2, axis2=3)[..., None, :] for part in (second.uu, second.ud))
        return truncated(cross, own, other, phi, psi)

    def _below(self, a: int) -> tuple[int, tuple[float, float]]:
        node = self.lattice.nodes[a]
        return (node.inputs[0], slopes(node.op)) if isinstance(node.op, Activation) else (a, (1.0, 1.0))


def _summed(moments: Array, channels: int, groups: int) -> Array:
    """The sum over the channels of each group: (groups or 1, coordinates, positions, positions)."""
    if moments.shape[0] == 1:
        return moments * (channels // groups)
    return np.asarray(moments.reshape(groups, channels // groups, *moments.shape[1:]).sum(axis=1))


def _per_output(moments: Array, channels: int) -> Array:
    """The moments of each output channel from those of its group."""
    return moments if moments.shape[0] == 1 else np.repeat(moments, channels // moments.shape[0], axis=0)


def _read(moments: Array, cells: Array) -> Array:
    """The moments between the cells that one tap reads; zero where it reads nothing."""
    inside = cells >= 0
    read = moments[:, :, cells[:, None], cells[None, :]]
    return np.asarray(read * (inside[:, None] & inside[None, :]))

r"""BatchNorm in train mode: Lemma 2 as it should read, and as it is printed (Eq. 19 and 23).

The right law is the path sum of Eq. 8 with every norm's factor replaced by

    (N - 1) / N * gamma^2 E[1 / (V[a] + eps)],   V[a] = mean over positions of power - mean over pairs of positions of cross,

N = batch * positions, V[a] the variance that the norm sees over a large batch given the weights (power and cross of its
input: `landscape.gates.forward.mean_field`, weaker at zero-padded borders), and with gates over what the norm leaves. For a
plain layer V[a] = fan_in V[w] V[h] inside, so V[w] cancels as the paper says; but it is fan_in that divides, not the
largest mean number of paths, and the layers multiply along paths: Eq. 19 multiplies per-layer ratios taken at one index i,
which stands for another position in every layer once there is a stride, and for no path sum even without.
"""

from typing import Any

import numpy as np

from landscape.gates.forward.mean_field import batch_variances
from landscape.prior import Prior
from landscape.structure.correlated_positions import correlated_positions
from landscape.structure.plan import fixed_map
from landscape.structure.signs import SIGNAL_NORMS, is_batch_norm
from lattice import (
    Activation,
    Add,
    AssumptionError,
    ChannelShuffle,
    Concat,
    Conv,
    Dropout,
    Lattice,
    Multiply,
    Node,
    Norm,
    Slice,
    SpecificationError,
    UnsupportedError,
    mean_path_counts,
)
from lattice.network.ops import Pooling, Shape, WeightedWindow, Windowed

__all__ = ["averaged_next", "dropout_gains", "eq19", "eq23", "train_factors", "train_reasons"]

Array = np.ndarray[Any, Any]
SMALL_BATCH = 8
MOST_EXCESS = 10.0  # of E[1 / V] over 1 / E[V]
LEAST_AVERAGED = 3  # mean and variance of one or two values leave nothing of a gradient that all positions share


def train_factors(prior: Prior, batch: int) -> dict[str, Any]:
    """(N - 1) / N * gamma^2 / V[a] of every batch norm: the corrected Lemma 2, for white inputs.

    Parameters
    ----------
    prior : Prior
        The network; its `factors` are gamma^2 of the batch norms, and the factors of the other norms, which stay as they are.
    batch : int
        Inputs of a batch; N is that times the positions.

    Returns
    -------
    dict
        The factor of each norm by name, a number or one per channel.

    Raises
    ------
    SpecificationError
        If a norm would see one value only.
    AssumptionError
        If the gradient is exactly zero, or that of rare draws.

    Examples
    --------
    >>> from lattice import Dense, Flatten
    >>> layers = [
    ...     Conv(8, 3, padding=1, mode="circular"),
    ...     Norm(),
    ...     Activation("relu"),
    ...     Flatten(),
    ...     Dense(1),
    ... ]
    >>> net = Lattice.chain((1, 10), layers)
    >>> prior = Prior(net, {"conv1": 0.5, "dense1": 1.0})
    >>> # 99/100: fan_in V[w] = 1.5
    >>> round(train_factors(prior, batch=10)["norm1"] * 0.5 * 3, 4)
    0.99
    """
    lattice, result = prior.lattice, dict(prior.factors)
    _check(lattice, batch)
    variances = batch_variances(prior)
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Norm) and node.op.kind == "batch":
            samples = _samples(lattice, position, batch)
            variance, inverse = variances[node.name]
            if (excess := float(np.max((variance + node.op.eps) * inverse))) > MOST_EXCESS:
                raise AssumptionError(
                    f"{node.name}: inputs differ so little beside what a padding cuts off at the borders, which few weights "
                    f"decide, that the mean of 1 / variance is {excess:.2g} times the inverse of its mean, for being that of "
                    "rare draws; give larger signals or layers without padding below"
                )
            factor = np.asarray(prior.factors.get(node.name, 1.0)) * inverse * (samples - 1) / samples
            result[node.name] = float(factor[0]) if factor.size == 1 else factor
    return result


def _samples(lattice: Lattice, position: int, batch: int) -> int:
    return batch * int(np.prod(lattice.shapes[position][1:]))


def _check(lattice: Lattice, batch: int) -> None:
    if isinstance(batch, bool) or not hasattr(batch, "__index__") or batch < 1:
        raise SpecificationError(f"batch is {batch!r}; it is the number of inputs in a batch, for example 32")
    for position, node in enumerate(lattice.nodes):
        _check_dropped(lattice, position)
        if not is_batch_norm(node):
            continue
        if _samples(lattice, position, batch) < 2:
            raise SpecificationError(f"{node.name}: a batch of {batch} over one position is one value, which has no variance")
        if batch == 1 and averaged_next(lattice, position):
            raise AssumptionError(
                f"{node.name}: in a batch of one, the average over all positions of what a batch norm gives is constant, so "
                "the gradient is exactly 0; give a larger batch"
            )


def _check_dropped(lattice: Lattice, position: int) -> None:
    """Refuse a sum of a signal and itself behind a dropout under a norm: the power x y of both is not in its variance."""
    node = lattice.nodes[position]
    sources = [_undropped(lattice, i) for i in node.inputs] if isinstance(node.op, Add) else []
    dropped = {source for source, mask in sources if mask}
    if not any(sum(source == one for source, _ in sources) > 1 for one in dropped):
        return
    above = {position}
    for later, one in enumerate(lattice.nodes[position + 1 :], start=position + 1):
        if above & set(one.inputs):
            above.add(later)
            if is_batch_norm(one) or (isinstance(one.op, Norm) and one.op.kind in SIGNAL_NORMS):
                raise UnsupportedError(
                    f"{node.name}: adds a signal and itself behind a dropout, and {one.name} divides by the variance of that; "
                    "what both have in common has no rule here in training mode. Give one of them a layer of its own"
                )


def _undropped(lattice: Lattice, position: int) -> tuple[int, bool]:
    """The signal below dropouts and plain factors, and whether there is a dropout."""
    mask = False
    while isinstance(op := lattice.nodes[position].op, Dropout) or op == Norm("scale"):
        mask = mask or isinstance(op, Dropout)
        position = lattice.nodes[position].inputs[0]
    return position, mask


def averaged_next(lattice: Lattice, position: int) -> bool:
    """Whether a node's output is averaged over all positions by everything that reads it, with nothing but linear maps between.

    Parameters
    ----------
    lattice : Lattice
        The network.
    position : int
        Index of the node.

    Returns
    -------
    bool
        True if only averages are read.

    Examples
    --------
    >>> from lattice import GlobalPool
    >>> averaged_next(Lattice.chain((1, 9), [Conv(4, 3), GlobalPool()]), 1)
    True
    """
    spatial = lattice.shapes[position][1:]
    readers = lattice.readers[position]
    return bool(readers) and all(
        _averages_everything(lattice, i) or (_reads_evenly(lattice.nodes[i], lattice, spatial) and averaged_next(lattice, i))
        for i in readers
    )


def _reads_evenly(node: Node, lattice: Lattice, spatial: Shape) -> bool:
    """Is it linear, and worth the same at every position, for each of its weights, where all that it gives is?"""
    op = node.op
    if isinstance(op, Multiply):  # by what is one number a channel
        return any(set(shape[1:]) == {1} for shape in lattice.input_shapes(node))
    if isinstance(op, WeightedWindow):
        rows = [
            np.bincount(row[row >= 0], minlength=n)
            for window, n in zip(op.windows(spatial), spatial, strict=True)
            for row in window.table(n)
        ]
        return all(bool((row == row[0]).all()) for row in rows)
    if isinstance(op, Windowed) and getattr(op, "kind", "") != "max":
        sums = [fixed_map(op, axis, spatial).values.sum(axis=0) for axis in range(len(spatial))]
        return all(np.allclose(one, one[0], rtol=1e-9, atol=0) for one in sums)
    return isinstance(op, Add | ChannelShuffle | Concat | Dropout | Slice) or (isinstance(op, Norm) and op.kind == "scale")


def _averages_everything(lattice: Lattice, position: int) -> bool:
    """Is it one average over all positions?"""
    node = lattice.nodes[position]
    if not isinstance(node.op, Pooling) or node.op.kind != "avg" or set(lattice.shapes[position][1:]) != {1}:
        return False
    spatial = lattice.input_shapes(node)[0][1:]
    assert isinstance(node.op, Windowed)
    return all(bool((w.matrix(n) > 0).all()) for w, n in zip(node.op.windows(spatial), spatial, strict=True))


def train_reasons(lattice: Lattice, batch: int) -> tuple[str, ...]:
    """What the corrected Lemma 2 leaves out, each with its layers.

    Parameters
    ----------
    lattice : Lattice
        The network.
    batch : int
        Inputs of a batch.

    Returns
    -------
    tuple of str
        Reasons, for `Landscape.reasons`.

    Raises
    ------
    AssumptionError
        If it may leave out all of the gradient: under an average, in a batch of one or two.

    Examples
    --------
    >>> net = Lattice.chain((1, 9), [Conv(4, 3), Norm(), Activation("relu")])
    >>> for reason in train_reasons(net, batch=2):
    ...     print(reason)
    batch norm in train mode: the variance of a large batch of white inputs, at a batch of 2 (norm1)
    a batch of 2: terms of relative size 1 / (batch * positions) are left out (norm1)
    """
    from lattice.errors import listed

    norms = [(i, node.name) for i, node in enumerate(lattice.nodes) if is_batch_norm(node)]
    names = [name for _, name in norms]
    if not names:
        return ()
    alike = correlated_positions(lattice)
    averaged = [name for i, name in norms if alike[i]]
    if averaged and batch < LEAST_AVERAGED:
        raise AssumptionError(
            f"{listed(averaged)}: in a batch of {batch}, a batch norm under an average may take out the whole gradient, so "
            f"that no least size can be stated; give a batch of {LEAST_AVERAGED} or more"
        )
    reasons = [
        f"batch norm in train mode: the variance of a large batch of white inputs, at a batch of {batch} ({listed(names)})"
    ]
    if batch < SMALL_BATCH:
        reasons.append(f"a batch of {batch}: terms of relative size 1 / (batch * positions) are left out ({listed(names)})")
    return tuple(reasons)


# --- as printed -----------------------------------------------------------------------------------------------------------


def eq23(lattice: Lattice, norm: str, batch: int, input_variance: float | None = None) -> Array:
    """(N - 1) / N E[gamma^2] E_j[#p(a_j -> h_i)] / max_i' E_j'[#p(a_j' -> h_i')] / V[h], as printed (Eq. 23, gamma = 1).

    Parameters
    ----------
    lattice : Lattice
        The network.
    norm : str
        Name of a batch norm over a convolution.
    batch : int
        Inputs of a batch; N is that times the positions.
    input_variance : float or None, default None
        V[h]; None is 1 for the lattice's input, and 1/2 - 1/(2 pi) after a norm and a ReLU.

    Returns
    -------
    ndarray of float64
        A map over the positions i of the convolution's input.

    Raises
    ------
    SpecificationError
        If there is no such norm, or it does not stand over a convolution.

    Examples
    --------
    >>> net = Lattice.chain((1, 4), [Conv(8, 3, padding=1), Norm()])
    >>> eq23(net, "norm1", batch=100).round(4)
    array([0.665 , 0.9975, 0.9975, 0.665 ])
    """
    nodes = {node.name: node for node in lattice.nodes}
    if norm not in nodes or not isinstance(nodes[norm].op, Norm):
        raise SpecificationError(f"{norm!r} is not a norm of this lattice; its nodes are {', '.join(lattice.names)}")
    conv = lattice.nodes[nodes[norm].inputs[0]]
    if not isinstance(conv.op, Conv):
        raise SpecificationError(f"{norm}: Eq. 23 is about a norm over a convolution, not over {conv.op}")
    below = conv.inputs[0]
    shape = lattice.shapes[below]
    counts = mean_path_counts(Lattice.chain(shape, [conv.op])).astype(float)
    samples = _samples(lattice, lattice.names.index(norm), batch)
    rectified = isinstance(lattice.nodes[below].op, Activation)
    variance = input_variance if input_variance is not None else (0.5 - 0.5 / np.pi if rectified else 1.0)
    return np.asarray((samples - 1) / samples * counts / counts.max() / variance)


def eq19(lattice: Lattice, batch: int) -> Array:
    """The product over layers of Eq. 23's ratios at one index i, as printed (Eq. 19).

    Parameters
    ----------
    lattice : Lattice
        The network.
    batch : int
        Inputs of a batch.

    Returns
    -------
    ndarray of float64
        A map over input positions.

    Raises
    ------
    SpecificationError
        If a layer changes the number of positions: the index i then names no position of that layer.

    Examples
    --------
    >>> block = [Conv(8, 3, padding=1), Norm(), Activation("relu")]
    >>> eq19(Lattice.chain((1, 4), [*block, *block]), batch=100).round(4)
    array([1.2974, 2.9192, 2.9192, 1.2974])
    """
    result = np.ones(lattice.input_shape[1:])
    for node in lattice.nodes:
        if isinstance(node.op, Norm):
            part = eq23(lattice, node.name, batch)
            if part.shape != result.shape:
                raise SpecificationError(
                    f"{node.name}: Eq. 19 multiplies ratios at one index i, but the convolution below it reads {part.shape} "
                    f"positions and the input has {result.shape}; landscape.predict(..., mode='train') has the path sum"
                )
            result = result * part
    return result


def dropout_gains(lattice: Lattice) -> dict[str, float]:
    """1 / (1 - p) of every dropout: E[(mask / (1 - p))^2].

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    dict of str to float
        The gain by node name.

    Examples
    --------
    >>> dropout_gains(Lattice.chain((1, 9), [Conv(4, 3), Dropout(0.5)]))
    {'dropout1': 2.0}
    """
    return {node.name: _gain(node) for node in lattice.nodes if isinstance(node.op, Dropout)}


def _gain(node: Node) -> float:
    assert isinstance(node.op, Dropout)
    if node.op.p >= 1:
        raise SpecificationError(f"{node.name}: drops everything")
    return 1 / (1 - node.op.p)

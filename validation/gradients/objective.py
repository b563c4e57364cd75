r"""The regularised objective (Section 3.4): the landscape of a batch, and the penalties on it, Eq. 13 to 17.

    I_i(f)^2 = 1/B sum_m (dh_y/dx_{i,m})^2,  y ~ p(y|X_m) = softmax(h(X_m))         (Eq. 13; evaluation mode)
    I'_i     = sqrt(d_w d_h) ||I_i^2||_channels / ||I^2||_F                         (Eq. 14)
    cross-entropy + alpha Var(Laplacian_k I')                                       (Eq. 16, curvature)
    cross-entropy + alpha ||I' - S||^2                                              (Eq. 17, target)

The gradient of any L(g(theta)), g = grad_x of the sampled logits, needs no second-order graph: with u = dL/dg held fixed it
is grad_theta <u, g(theta)>, the gradient of a directional derivative.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import torch

from lattice import SpecificationError
from lattice.checks import is_whole
from validation.gradients.input_gradient import input_gradient, sample_uniforms

__all__ = [
    "Border",
    "Reduction",
    "curvature_penalty",
    "importance_map",
    "laplacian",
    "normalised",
    "smoothness_target",
    "target_penalty",
]

Reduction = Literal["sum", "mean"]
Border = Literal["unpadded", "replicate", "reflect"]


def normalised(squared: torch.Tensor) -> torch.Tensor:
    """I' = sqrt(P) ||I^2||_channels / ||I^2||_F (Eq. 14) of (channels, *positions), P positions; its mean square is one.

    Parameters
    ----------
    squared : torch.Tensor
        I^2, not negative.

    Returns
    -------
    torch.Tensor
        I' (positions), of the same dtype.

    Raises
    ------
    SpecificationError
        For a landscape that is zero everywhere, or not finite.

    Examples
    --------
    >>> normalised(torch.tensor([[[3.0, 0.0]], [[4.0, 5.0]]])).round(decimals=4)
    tensor([[1., 1.]])
    """
    largest = squared.detach().abs().max()
    if not bool(torch.isfinite(largest) & (largest > 0)):
        raise SpecificationError(
            f"the largest squared gradient of this landscape is {largest.item():g}: the logits do not depend on the input, "
            "or overflow"
        )
    squared = squared / largest  # I' is free of scale; the squares below must not underflow
    return torch.linalg.vector_norm(squared, dim=0) * (squared[0].numel() ** 0.5 / torch.linalg.vector_norm(squared))


def importance_map(
    model: torch.nn.Module,
    images: torch.Tensor,
    *,
    generator: torch.Generator | None = None,
    uniforms: torch.Tensor | None = None,
    way: str = "auto",
    reduce: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """I'(f) of a batch (Eq. 14 of 1/B sum_m (dh_y/dx)^2 with y ~ p(y|x)), differentiable in the parameters.

    `images` (B, channels, *positions); the map has the shape of the positions. The classes are drawn from `generator`, one
    uniform number an image, or from the numbers `uniforms` (B,) themselves. The model runs in evaluation mode, on copies of
    its buffers, and is left as it was; so a later forward pass in training mode cannot change the map's gradient. `way`, the
    way to the gradient: "linearised", "double_backward", "forward_mode", or "auto": linearised where every layer has a
    rule, otherwise double backward. Second derivatives of the map exist by double backward only. `reduce`: applied to the
    mean square, before it is normalised (the mean over processes, `devices.mean_over_processes`).

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    images : torch.Tensor
        (B, channels, *positions), floating point.
    generator : torch.Generator, optional
        Draws the classes; or give `uniforms`.
    uniforms : torch.Tensor, optional
        One uniform number in [0, 1) for each image, (B,): its sampled class.
    way : str
        "linearised", "double_backward", "forward_mode" or "auto".
    reduce : Callable[[torch.Tensor], torch.Tensor], optional
        Applied to the mean square before it is normalised, such as the mean over processes.

    Returns
    -------
    torch.Tensor
        I' (positions), whose mean square is one, differentiable in the parameters.

    Raises
    ------
    SpecificationError
        For images that are no floating-point batch.
    UnsupportedError
        For a model whose outputs are not logits (B, classes).

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> found = importance_map(
    ...     model, torch.ones(3, 1, 2, 2), generator=torch.Generator().manual_seed(0)
    ... )
    >>> found.shape, round(found.square().mean().item(), 4), found.requires_grad
    (torch.Size([2, 2]), 1.0, True)
    """
    if not isinstance(images, torch.Tensor):
        raise SpecificationError(f"images is a {type(images).__name__}; it is a tensor (B, channels, *positions) of floats")
    if uniforms is None:
        if generator is None:
            raise SpecificationError("the classes are drawn from p(y|x): give generator=torch.Generator().manual_seed(0)")
        uniforms = sample_uniforms(len(images), generator)
    gradient = input_gradient(model, images, uniforms, way=way)
    squared = gradient.square().mean(dim=0)
    return normalised(squared if reduce is None else reduce(squared))


def laplacian(values: torch.Tensor, width: int = 3, *, axes: int | None = None, border: Border = "unpadded") -> torch.Tensor:
    """Delta_k: the sum over axes of second differences, each binomially smoothed over `width` cells.

    On one axis the kernel is [1, -2, 1] convolved with the normalised binomial of width k - 2, so that quadratics keep
    their second derivative; k = 3 on two axes is the 5-point stencil (Section 3.3.1).

    Parameters
    ----------
    values : torch.Tensor
        A map, or anything whose last `axes` axes are positions.
    width : int
        k, odd and 3 at least.
    axes : int, optional
        How many of the last axes are positions (default: all).
    border : {"unpadded", "replicate", "reflect"}
        "unpadded": cells whose stencil fits, k - 1 fewer along each axis; the corners of the map then enter no difference. The
        other two have a value for each cell, the cells outside being copies of the nearest one, or mirrored about the border's
        centre. With "replicate" only constant maps have a Laplacian of zero.

    Returns
    -------
    torch.Tensor
        The Laplacian, of the dtype of `values`.

    Raises
    ------
    SpecificationError
        For an even width, or one that does not fit, and for another border.

    Examples
    --------
    >>> laplacian(torch.arange(5.0) ** 2, width=3)
    tensor([2., 2., 2.])
    >>> laplacian(torch.arange(5.0) ** 2, width=3, border="replicate")
    tensor([ 1.,  2.,  2.,  2., -7.])
    """
    if not isinstance(values, torch.Tensor):
        raise SpecificationError(f"a map is a torch.Tensor here, not a {type(values).__name__}")
    places = range(values.ndim - (values.ndim if axes is None else axes), values.ndim)
    if not is_whole(width) or width < 3 or width % 2 == 0:
        raise SpecificationError(f"a Laplacian of width {width}; it is odd (it has a centre), and 3 at least")
    if min((values.shape[axis] for axis in places), default=0) < width:
        raise SpecificationError(f"a Laplacian of width {width} does not fit a map of shape {tuple(values.shape)}")
    kernel = np.array([1.0, -2.0, 1.0])
    for _ in range(width - 3):
        kernel = np.convolve(kernel, [0.5, 0.5])
    radius = width // 2
    values = _extended(values, places, radius, border)
    total = torch.zeros((), dtype=values.dtype, device=values.device)
    for axis in places:
        inner = values
        for other in places:
            if other != axis:
                inner = inner.narrow(other, radius, values.shape[other] - 2 * radius)
        for tap, weight in enumerate(kernel):
            total = total + float(weight) * inner.narrow(axis, tap, values.shape[axis] - 2 * radius)
    return total


def _extended(values: torch.Tensor, places: range, radius: int, border: str) -> torch.Tensor:
    if border not in ("unpadded", "replicate", "reflect"):
        raise SpecificationError(f"border is {border!r}; it is 'unpadded', 'replicate' or 'reflect'")
    if border == "unpadded":
        return values
    for axis in places:
        last = values.shape[axis] - 1
        cells = torch.arange(-radius, last + radius + 1, device=values.device)
        inside = cells.clamp(0, last) if border == "replicate" else last - (last - cells.abs()).abs()
        values = values.index_select(axis, inside)
    return values


def curvature_penalty(
    importance: torch.Tensor, width: int = 3, *, reduction: Reduction = "mean", border: Border = "unpadded"
) -> torch.Tensor:
    """Var(Delta_k I') (Eq. 16): the mean squared deviation of the Laplacian from its mean, over the cells that it has.

    Parameters
    ----------
    importance : torch.Tensor
        A map (positions); Eq. 14 gives it a mean square of one.
    width : int
        k of the Laplacian.
    reduction : {"mean", "sum"}
        "mean" is the equation as printed; "sum" multiplies it by the number of cells, (d_w - k + 1)(d_h - k + 1) without
        padding: the same alpha weighs 900 times more on 32x32 pixels with k = 3.
    border : {"unpadded", "replicate", "reflect"}
        See `laplacian`. Without padding, as printed, the four corners are free, and a network can hide its gradient there.

    Returns
    -------
    torch.Tensor
        A scalar, differentiable in `importance`.

    Raises
    ------
    SpecificationError
        For a width that does not fit, another reduction or another border.

    Examples
    --------
    >>> corner = torch.zeros(5, 5)
    >>> corner[0, 0] = 5.0
    >>> [
    ...     round(float(curvature_penalty(corner, border=border)), 2)
    ...     for border in ("unpadded", "replicate")
    ... ]
    [0.0, 6.0]
    """
    curved = laplacian(importance, width, border=border)
    return _reduced((curved - curved.mean()).square(), reduction)


def target_penalty(importance: torch.Tensor, target: torch.Tensor, *, reduction: Reduction = "sum") -> torch.Tensor:
    """||I' - S||^2 (Eq. 17), summed over positions as printed; "mean" divides by d_w d_h: 1024 on 32x32 pixels.

    Parameters
    ----------
    importance : torch.Tensor
        I' (positions).
    target : torch.Tensor
        S (positions); it gets no gradient.
    reduction : Reduction
        "sum" as printed, or "mean" over positions, which the presets take.

    Returns
    -------
    torch.Tensor
        A scalar, differentiable in `importance`.

    Raises
    ------
    SpecificationError
        For maps that are no tensors or differ in shape, and another reduction.

    Examples
    --------
    >>> float(target_penalty(torch.ones(2, 2), torch.zeros(2, 2)))
    4.0
    """
    for given in (importance, target):
        if not isinstance(given, torch.Tensor):
            raise SpecificationError(f"map and target are torch.Tensors here, not a {type(given).__name__}")
    if importance.shape != target.shape:
        raise SpecificationError(f"a target of shape {tuple(target.shape)} for a map of shape {tuple(importance.shape)}")
    return _reduced((importance - target.detach().to(importance)).square(), reduction)


def _reduced(values: torch.Tensor, reduction: str) -> torch.Tensor:
    if reduction not in ("sum", "mean"):
        raise SpecificationError(f"reduction is {reduction!r}; it is 'sum' or 'mean'")
    return values.sum() if reduction == "sum" else values.mean()


def smoothness_target(images: torch.Tensor | Iterable[torch.Tensor], width: int = 3) -> torch.Tensor:
    """S = 1/M sum_m sqrt(d_w d_h) ||Delta_k X_m||_channels / ||Delta_k X_m||_F (Section 3.3.2, before Eq. 17), float64.

    `images` (M, channels, *positions), or batches of them. The Laplacian is not padded, which would put an edge around every
    image: a cell at the border has the value of its nearest inner cell, so that stationary images give a flat target. Images
    whose Laplacian is zero everywhere have no shape and are left out.

    Parameters
    ----------
    images : torch.Tensor | Iterable[torch.Tensor]
        (M, channels, *positions), or batches of them.
    width : int
        k of the Laplacian, odd and 3 at least.

    Returns
    -------
    torch.Tensor
        S (positions), float64 on the CPU.

    Raises
    ------
    SpecificationError
        Where no image has one.

    Examples
    --------
    >>> smoothness_target(torch.rand(8, 3, 6, 5)).shape
    torch.Size([6, 5])
    """
    total, count = torch.zeros((), dtype=torch.float64), 0
    for batch in [images] if isinstance(images, torch.Tensor) else images:
        if not isinstance(batch, torch.Tensor):
            raise SpecificationError(f"images is a {type(batch).__name__}; tensors (images, channels, *positions) are needed")
        if total.ndim and total.shape != batch.shape[2:]:
            raise SpecificationError(
                f"a batch of shape {tuple(batch.shape)} after images of {tuple(total.shape)}: one size only"
            )
        if batch.ndim < 3 or not bool(torch.isfinite(batch).all()):
            raise SpecificationError(f"images of shape {tuple(batch.shape)}: finite (images, channels, *positions) are needed")
        curved = laplacian(batch.detach().cpu().double(), width, axes=batch.ndim - 2)
        strength = torch.linalg.vector_norm(curved, dim=1)
        for axis, cells in enumerate(batch.shape[2:], start=1):
            nearest = torch.arange(cells).clamp(width // 2, cells - 1 - width // 2) - width // 2
            strength = strength.index_select(axis, nearest)
        size = strength.flatten(1).square().mean(dim=1).sqrt()
        shaped = size > 0
        sizes = size[shaped].reshape(-1, *(1 for _ in batch.shape[2:]))
        total, count = total + (strength[shaped] / sizes).sum(dim=0), count + int(shaped.sum())
    if not count:
        raise SpecificationError("no image among these has a Laplacian that is not zero: there is no target")
    return total / count

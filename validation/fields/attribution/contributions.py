r"""What the features of a unit owe to each pixel of one image.

For features h_c of one unit (or of all units), input pixels x_(k, i) of channels k, and one image:

    squared    (1 / (C K)) sum_c sum_k (dh_c / dx_(k,i))^2       what `landscape.predict(output=unit).squared` predicts
    absolute   sum_k |d(sum_c h_c) / dx_(k,i)|                   Luo et al. (2016) with one channel
    signed     sum_k d(sum_c h_c) / dx_(k,i)                     cancels where signs differ from image to image
    rectified  sum_k max(0, d(sum_c max(0, h_c)) / dx_(k,i))     the scores of RepLKNet's erf/visualize_erf.py
    positive   sum_k max(0, d(sum_c h_c) / dx_(k,i))             the scores as RepLKNet's paper words them

"squared" takes one backward pass, with a cotangent v_c = +-1 that is drawn for each image: E_v[(v . dh/dx)^2] sums over c.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch

from lattice import AssumptionError, UnsupportedError
from validation.runtime.preserve_state import call_model, gradient

__all__ = ["STATISTICS", "contributions"]

Array = np.ndarray[Any, Any]

STATISTICS = ("squared", "absolute", "signed", "rectified", "positive")


def contributions(
    tap: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    index: tuple[int, ...] | None,
    statistic: str,
    numbers: range,
    seed: int,
    *,
    check: bool = False,
) -> Array:
    """The maps of some images x (N, channels, *positions), one backward pass: float64 (N, *positions).

    `tap` returns features (N, C, *units); `index`: which unit, None for the mean over all. `numbers`: those of the images, from
    which and `seed` the signs of "squared" are drawn. `check`: a copy of an image stands between the first two, and no gradient
    may reach it from the others; else the images of a batch are not read one by one.
    """
    rows = [0, *range(2, len(x) + 1)] if check and len(x) > 1 else list(range(len(x)))
    with torch.enable_grad():
        x = torch.cat([x[:1], x]) if len(rows) > 1 and rows[1] == 2 else x
        x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        features = call_model(tap, x)
        if not features.requires_grad:
            raise UnsupportedError(
                "these features do not depend on the input as autograd sees it: a layer before it, a detach(), or a part "
                "that runs without gradients (torch.no_grad, inference_mode)"
            )
        h = features.flatten(2) if index is None else features[(..., *index)]
        h = h[rows] if len(rows) < len(x) else h
        if not bool(torch.isfinite(h).all()):
            bad = int((~torch.isfinite(h)).flatten(1).any(dim=1).nonzero()[0])
            raise AssumptionError(
                f"image {numbers[bad]} has features that are NaN or infinite: look at the weights and the image"
            )
        units = prod(h.shape[2:])
        if statistic == "squared":
            g = _own(gradient(h, x, _signs(h, numbers, seed)), rows).double()
            maps = g.square().mean(dim=1) / prod(h.shape[1:])
        else:
            cotangent = (h > 0).to(h.dtype) / units if statistic == "rectified" else torch.full_like(h, 1 / units)
            g = _own(gradient(h, x, cotangent), rows).double()
            g = g.abs() if statistic == "absolute" else g if statistic == "signed" else g.clamp(min=0)
            maps = g.sum(dim=1)
    found = np.asarray(maps.cpu())
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if not finite.all():
        raise AssumptionError(
            f"image {numbers[int(np.argmin(finite))]} has gradients that are NaN or infinite: look at the weights"
        )
    return found


def _own(g: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """The gradients in the images themselves; refused where one reached the copy that stands between them."""
    if len(rows) == len(g):
        return g
    if bool(g[1].any()):
        raise UnsupportedError(
            "the features of an image depend on the images beside it in the batch: a recurrent or attention layer that reads "
            "(T, N, C) (give it batch_first=True), or a norm that takes the statistics of the batch; with batch_size=1 every "
            "image is read alone"
        )
    return g[rows]


def _signs(h: torch.Tensor, numbers: range, seed: int) -> torch.Tensor:
    """+1 or -1 for each feature, from the numbers of the images."""
    generator = torch.Generator()
    rows = []
    for i in numbers:
        generator.manual_seed(int(np.random.SeedSequence((seed, i, 1)).generate_state(1, np.uint64)[0]) >> 1)
        rows.append(torch.randint(0, 2, h.shape[1:], generator=generator, dtype=torch.int8))
    return (2 * torch.stack(rows) - 1).to(h.device, h.dtype)

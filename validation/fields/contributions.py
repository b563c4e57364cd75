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
from validation.evaluation.untouched import gradient, ran

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
) -> Array:
    """The maps of some images x (N, channels, *positions), one backward pass: float64 (N, *positions).

    `tap` returns features (N, C, *units); `index`: which unit, None for the mean over all. `numbers`: those of the images, from
    which and `seed` the signs of "squared" are drawn.
    """
    with torch.enable_grad():
        x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        features = ran(tap, x)
        if not features.requires_grad:
            raise UnsupportedError(
                "these features do not depend on the input as autograd sees it: a layer before it, a detach(), or a part "
                "that runs without gradients (torch.no_grad, inference_mode)"
            )
        h = features.flatten(2) if index is None else features[(..., *index)]
        if not bool(torch.isfinite(h).all()):
            bad = int((~torch.isfinite(h)).flatten(1).any(dim=1).nonzero()[0])
            raise AssumptionError(
                f"image {numbers[bad]} has features that are NaN or infinite: look at the weights and the image"
            )
        units = prod(h.shape[2:])
        if statistic == "squared":
            g = gradient(h, x, _signs(h, numbers, seed))
            maps = g.double().square().mean(dim=1) / prod(h.shape[1:])
        elif statistic == "rectified":
            maps = gradient(h, x, (h > 0).to(h.dtype) / units).double().clamp(min=0).sum(dim=1)
        else:
            g = gradient(h, x, torch.full_like(h, 1 / units)).double()
            maps = {"absolute": g.abs(), "positive": g.clamp(min=0), "signed": g}[statistic].sum(dim=1)
    found = np.asarray(maps.cpu())
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if not finite.all():
        raise AssumptionError(
            f"image {numbers[int(np.argmin(finite))]} has gradients that are NaN or infinite: look at the weights"
        )
    return found


def _signs(h: torch.Tensor, numbers: range, seed: int) -> torch.Tensor:
    """+1 or -1 for each feature, from the numbers of the images."""
    generator = torch.Generator()
    rows = []
    for i in numbers:
        generator.manual_seed(int(np.random.SeedSequence((seed, i, 1)).generate_state(1, np.uint64)[0]) >> 1)
        rows.append(torch.randint(0, 2, h.shape[1:], generator=generator, dtype=torch.int8))
    return (2 * torch.stack(rows) - 1).to(h.device, h.dtype)

"""A contact sheet: an image, and what each corruption makes of it at each severity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.maps.plot import axes_or_new
from validation.evaluation.corruptions.corrupt import corrupt
from validation.evaluation.corruptions.severities import CATEGORIES, SEVERITIES, defaults_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_corruptions"]

Array = np.ndarray[Any, Any]


def plot_corruptions(
    image: Array,
    ax: "Axes | None" = None,
    *,
    names: Sequence[str] | None = None,
    constants: str | None = None,
    seed: int = 0,
    gap: float = 0.04,
) -> "Axes":
    """A row for each of `names` (all 19): the image itself and severities 1 to 5; `gap` in widths of the image.

    `image`: uint8 (height, width, 3), (height, width, 1) or (height, width); `constants` by default those made for its size.
    Raises what `corrupt` raises.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 (height, width, 3) or grey.
    ax : Axes, optional
        Where to draw; a new figure's, if none is given.
    names : sequence of str, optional
        Of corruptions.
    constants : str, optional
        "imagenet", "cifar", or as said above.
    seed : int
        Of all that is drawn.
    gap : float
        In widths of the image.

    Returns
    -------
    Axes
        The Axes.
    """
    ax = axes_or_new(ax)
    names = tuple(name for row in CATEGORIES.values() for name in row) if names is None else tuple(names)
    constants = constants or defaults_for(min(image.shape[:2]))
    height, width = image.shape[:2]
    space = max(1, round(gap * width))
    sheet = np.full((len(names) * (height + space), 6 * (width + space), 3), 255, dtype=np.uint8)
    for row, name in enumerate(names):
        made = [corrupt(image[None], name, severity, seed=seed, constants=constants)[0] for severity in SEVERITIES]
        for column, each in enumerate((image, *made)):
            top, left = row * (height + space), column * (width + space)
            sheet[top : top + height, left : left + width] = each.reshape(height, width, -1)
    ax.imshow(sheet[:-space, :-space], interpolation="nearest")
    ax.set_xticks([column * (width + space) + width / 2 for column in range(6)], ["0", *map(str, SEVERITIES)])
    ax.set_yticks([row * (height + space) + height / 2 for row in range(len(names))], [n.replace("_", " ") for n in names])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="severity (0: as it was)", title=f"{height} x {width} pixels, {constants}'s numbers")
    return ax

r"""What gates and choices let through, where it is known beyond the symmetry of what they read.

A gate over one filter's output needs no knowledge: it is open half of the time. Others do: after a residual sum, smooth
activations, which cell of a max-pool wins. The rates come from theory (`landscape.signal`) or from forward passes on
white noise or on given images (`landscape.observing`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Gates"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Gates:
    """Rates by node name; what is absent follows from symmetry, or takes the cells of a max-pool as alike.

    `gains`: E[phi'(z)^2] of an activation, E[gate^2] of a product, E[1 / variance] of a norm over the signal, over the
    output (channels or 1, *spatial), or one number. `joint`: E[phi'(z) phi'(z')] at the pairs of positions that
    `landscape.plan` carries. `taps`: for a max-pool, how often each tap of each window passes its gradient, divided by how
    often the gate below it is open: (taps, *outputs). `edges`: by (sum, input number), P(the gates on both ends are open)
    divided by the product of their rates (the trunk law).
    `ground`: where they come from, in words.
    """

    gains: Mapping[str, Any] = field(default_factory=dict)
    joint: Mapping[str, Array] = field(default_factory=dict)
    taps: Mapping[str, Array] = field(default_factory=dict)
    edges: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    ground: str = "theory"

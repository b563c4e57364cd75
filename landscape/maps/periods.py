"""At which periods strides can leave a grid."""

from lattice import GlobalPool, Lattice, Window
from lattice.network.ops import Windowed

__all__ = ["stride_periods"]


def stride_periods(lattice: Lattice) -> list[int]:
    """The products of strides from the input up: the periods at which a grid can appear.

    >>> from lattice import Conv
    >>> stride_periods(Lattice.chain((1, 32), [Conv(1, 3, 2), Conv(1, 3, 2)]))
    [2, 4]
    """
    strides = [1] * len(lattice.nodes)
    for position, node in enumerate(lattice.nodes):
        if node.inputs:
            strides[position] = max(strides[i] for i in node.inputs)
        if isinstance(node.op, Windowed) and not isinstance(node.op, GlobalPool):
            spatial = lattice.input_shapes(node)[0][1:]
            windows = [window for window in node.op.windows(spatial) if isinstance(window, Window)]
            strides[position] *= max((window.stride for window in windows), default=1)
    return sorted(set(strides) - {1})

"""Lattices of convolutional networks, and exact counts of the paths through them.

=================== ==================================================== ===================================
paper                meaning                                              here
=================== ==================================================== ===================================
H^(l), h_i^(l)       layer l and its unit i; H^(0) is the input           `Node`, `Unit(position, channel)`
C, c^(l)             vector of commands, bottom layer first               tuple of `Command`, `SKIP`
route (Def. 1)       the unit that a command vector leads to              `route(lattice, commands, output)`
P_{h_j -> h_i} (2)   the command vectors from unit j to unit i            `commands(lattice, output, input)`
#p                   their number                                         `path_counts(lattice, output)[i]`
#p-bar               its mean over the output units                       `mean_path_counts(lattice)[i]`
K, Z                 kernel size, number of output units                  `kernel`, `prod(output_shape)`
=================== ==================================================== ===================================

Maps are indexed [row, column] and live on input positions; shapes are (channels, *spatial).
"""

from lattice import families
from lattice.counting import mean_path_counts, path_counts, spatial_lattice
from lattice.errors import (
    AssumptionError,
    IrregularLatticeError,
    PilcroError,
    ResourceError,
    SpecificationError,
    UnsupportedError,
)
from lattice.lattice import Branches, Lattice, Node, Unit, concatenate, residual
from lattice.ops import (
    Activation,
    AdaptivePool,
    Add,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Norm,
    Op,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    Upsample,
)
from lattice.pullback import pull_back
from lattice.routes import SKIP, Branch, Command, commands, path_exists, route
from lattice.window import AdaptiveWindow, AxisMap, ResizeWindow, TransposedWindow, Window

__all__ = [
    # the lattice
    "Lattice", "Node", "Unit", "Branches", "residual", "concatenate", "families",
    # its layers
    "Op", "Input", "Conv", "ConvTranspose", "Dense", "Pool", "GlobalPool", "AdaptivePool", "Pad", "Upsample", "PixelShuffle",
    "Add", "Concat", "Slice", "ChannelShuffle", "Flatten", "Activation", "Norm", "Dropout",
    # one axis of a layer
    "AxisMap", "Window", "TransposedWindow", "AdaptiveWindow", "ResizeWindow",
    # Definitions 1 and 2
    "route", "commands", "path_exists", "Command", "SKIP", "Branch",
    # counts
    "path_counts", "mean_path_counts", "pull_back", "spatial_lattice",
    # errors
    "PilcroError", "SpecificationError", "UnsupportedError", "AssumptionError", "IrregularLatticeError", "ResourceError",
]  # fmt: skip

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

from lattice.closed_forms.formulas import PascalNumber, pascal_formula, residual_formula, strip_formula
from lattice.closed_forms.limits import GaussianLimit, Moments, gaussian_limit, offset_moments
from lattice.closed_forms.pascal import pascal_coefficient, pascal_row, residual_row, stern, stern_maximum, stern_period
from lattice.closed_forms.strips import perron_depth, perron_vector, strip_counts_reflection, strip_counts_spectral
from lattice.closed_forms.symbolic import generating_function, path_polynomial, path_polynomials, variance_symbols
from lattice.counts.cost import show_count
from lattice.counts.counting import mean_path_counts, path_counts, spatial_lattice
from lattice.counts.distributions import log_path_counts, path_count, path_length_distribution, skip_distribution
from lattice.counts.regular import combinations, is_regular, multinomial_count
from lattice.drawing.charts import plot_counts
from lattice.drawing.draw import draw_lattice, draw_pascal
from lattice.drawing.graph import to_networkx, unit_graph
from lattice.errors import (
    AssumptionError,
    IrregularLatticeError,
    PilcroError,
    ResourceError,
    SpecificationError,
    UnsupportedError,
)
from lattice.geometry.evenness import StageEvenness, even_sizes, evenness
from lattice.geometry.receptive_field import AxisField, ReceptiveField, last_map, receptive_field, receptive_fields
from lattice.network import families
from lattice.network.attention import Attention
from lattice.network.lattice import Branches, Lattice, Node, Unit, concatenate, residual
from lattice.network.ops import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Multiply,
    Norm,
    Op,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    Upsample,
)
from lattice.network.rearrange import ListedWindow, Rearrange, Resample
from lattice.network.window import AdaptiveWindow, AxisMap, FilterWindow, ResizeWindow, TransposedWindow, Window
from lattice.sweep import attended, rearranged  # noqa: F401 - rules
from lattice.sweep.choices import SKIP, Branch, Command
from lattice.sweep.pullback import pull_back
from lattice.sweep.routes import commands, path_exists, route
from lattice.testing.transformations import compose, flip, transpose

__all__ = [
    # the lattice
    "Lattice", "Node", "Unit", "Branches", "residual", "concatenate", "families",
    # its layers
    "Op", "Input", "Conv", "ConvTranspose", "Dense", "Pool", "GlobalPool", "AdaptivePool", "Pad", "Blur", "Upsample",
    "Rearrange", "Resample", "Attention",
    "PixelShuffle", "Add", "Concat", "Slice", "ChannelShuffle", "Flatten", "Activation", "Norm", "Multiply", "Dropout",
    # one axis of a layer
    "AxisMap", "Window", "TransposedWindow", "AdaptiveWindow", "ResizeWindow", "FilterWindow", "ListedWindow",
    # Definitions 1 and 2
    "route", "commands", "path_exists", "Command", "SKIP", "Branch", "combinations", "multinomial_count", "is_regular",
    # counts
    "path_counts", "path_count", "mean_path_counts", "log_path_counts", "path_length_distribution", "skip_distribution",
    "pull_back", "spatial_lattice", "show_count",
    # closed forms and limits
    "pascal_row", "pascal_coefficient", "residual_row", "stern", "stern_period", "stern_maximum",
    "strip_counts_spectral", "strip_counts_reflection", "perron_vector", "perron_depth",
    "offset_moments", "gaussian_limit", "Moments", "GaussianLimit",
    # symbols
    "path_polynomial", "path_polynomials", "variance_symbols", "generating_function",
    "pascal_formula", "residual_formula", "strip_formula", "PascalNumber",
    # geometry
    "receptive_field", "receptive_fields", "ReceptiveField", "AxisField", "last_map",
    "evenness", "StageEvenness", "even_sizes",
    # other lattices, for theorems
    "flip", "transpose", "compose",
    # graphs and drawings
    "to_networkx", "unit_graph", "draw_lattice", "draw_pascal", "plot_counts",
    # errors
    "PilcroError", "SpecificationError", "UnsupportedError", "AssumptionError", "IrregularLatticeError", "ResourceError",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """`lattice.strategies` needs hypothesis, and is imported when it is asked for."""
    if name == "strategies":
        from lattice.testing import strategies

        return strategies
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

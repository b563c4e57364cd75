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

Maps are indexed [row, column] and live on input positions; shapes are (channels, *spatial). What is not named here is
reached under its folder: formulas in sympy (`lattice.closed_forms.formulas`), windows on one axis
(`lattice.network.windows.window`), the values that functions return.
"""

from typing import TYPE_CHECKING

from lattice import families
from lattice.closed_forms.limits import gaussian_limit, offset_moments
from lattice.closed_forms.pascal import pascal_coefficient, pascal_row, residual_row, stern, stern_maximum, stern_period
from lattice.closed_forms.strips import perron_depth, perron_vector, strip_counts_reflection, strip_counts_spectral
from lattice.counts.cost import show_count
from lattice.counts.counting import mean_path_counts, path_counts
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
from lattice.geometry.evenness import even_sizes, evenness
from lattice.geometry.receptive_field import receptive_field, receptive_fields
from lattice.lazy import lazy_exports
from lattice.network.attention import Attention
from lattice.network.branches import concatenate, residual
from lattice.network.lattice import Lattice, Node, Unit
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
from lattice.network.rearrange import Rearrange, Resample
from lattice.network.windows.window import Window
from lattice.sweep import attended, rearranged  # noqa: F401 - rules
from lattice.sweep.choices import SKIP, Branch, Command
from lattice.sweep.pullback import pull_back
from lattice.sweep.routes import commands, path_exists, route
from lattice.testing.transformations import compose, flip, transpose

if TYPE_CHECKING:
    from lattice.closed_forms.symbolic import generating_function, path_polynomial, path_polynomials, variance_symbols
    from lattice.testing import strategies as strategies

__all__ = [
    # building a network
    "Lattice", "residual", "concatenate", "families", "Node", "Unit",
    # its layers
    "Conv", "ConvTranspose", "Dense", "Pool", "GlobalPool", "AdaptivePool", "Blur", "Upsample", "Pad", "Norm", "Activation",
    "Dropout", "Flatten", "Add", "Concat", "Multiply", "Slice", "ChannelShuffle", "PixelShuffle", "Rearrange",
    "Resample", "Attention", "Input", "Op", "Window",
    # how many paths there are
    "path_counts", "path_count", "mean_path_counts", "log_path_counts", "path_length_distribution", "skip_distribution",
    "show_count", "pull_back",
    # which paths there are (Definitions 1 and 2)
    "route", "commands", "path_exists", "Command", "SKIP", "Branch", "combinations", "multinomial_count", "is_regular",
    # closed forms and limits
    "pascal_row", "pascal_coefficient", "residual_row", "stern", "stern_period", "stern_maximum",
    "strip_counts_reflection", "strip_counts_spectral", "perron_vector", "perron_depth", "offset_moments", "gaussian_limit",
    # formulas with symbols
    "path_polynomial", "path_polynomials", "variance_symbols", "generating_function",
    # receptive fields and symmetric sizes
    "receptive_field", "receptive_fields", "evenness", "even_sizes",
    # drawings and graphs
    "draw_lattice", "draw_pascal", "plot_counts", "to_networkx", "unit_graph",
    # lattices made of others, for theorems
    "flip", "transpose", "compose",
    # errors
    "PilcroError", "SpecificationError", "UnsupportedError", "AssumptionError", "IrregularLatticeError", "ResourceError",
]  # fmt: skip

# sympy and hypothesis take longer to import than everything else together
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "lattice.closed_forms.symbolic": ["generating_function", "path_polynomial", "path_polynomials", "variance_symbols"],
        "lattice.testing": ["strategies"],
    },
)

"""The importance landscape that a network's topology forces on it at initialisation.

`predict(model, shape)` traces a torch model (or takes a `lattice.Lattice`) and sums the variances of the weights over all
paths (Proposition 1, Eq. 8); the `Landscape` that it returns says how far it can be trusted, and why not further.
"""

from landscape.advise import Advice, Change, advise
from landscape.laws import batchnorm, moments
from landscape.laws.guarantee import Guarantee, assess
from landscape.laws.moments import path_sum, squared_gradients
from landscape.maps import measures as importance
from landscape.maps.measures import Report
from landscape.output_map import output_map
from landscape.predict import Landscape, predict
from landscape.prior import Gates, Prior
from landscape.tracing.trace import Trace, trace
from landscape.weights import initialisation
from landscape.weights.initialisation import (
    glorot,
    he,
    he_fan_out,
    lecun,
    orthogonal,
    rademacher,
    torch_default,
    truncated_normal,
)

__all__ = [
    "Advice", "Change", "advise",
    "Gates", "Guarantee", "Landscape", "Prior", "Report", "Trace", "assess", "output_map", "path_sum", "predict", "squared_gradients",
    "trace",
    "glorot", "he", "he_fan_out", "lecun", "orthogonal", "rademacher", "torch_default", "truncated_normal",
    "batchnorm", "importance", "initialisation", "moments",
]  # fmt: skip

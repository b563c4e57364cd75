"""The importance landscape that a network's topology forces on it at initialisation.

`predict(model, shape)` traces a torch model (or takes a `lattice.Lattice`) and sums the variances of the weights over all
paths (Proposition 1, Eq. 8); the `Landscape` that it returns says how far it can be trusted, and why not further.
"""

from landscape import batchnorm, importance, initialisation, moments
from landscape.advise import Advice, Change, advise
from landscape.assumptions import Guarantee, assess
from landscape.gates import Gates
from landscape.importance import Report
from landscape.initialisation import glorot, he, he_fan_out, lecun, orthogonal, rademacher, torch_default, truncated_normal
from landscape.moments import path_sum, squared_gradients
from landscape.predict import Landscape, predict
from landscape.trace import Trace, trace

__all__ = [
    "Advice", "Change", "advise",
    "Gates", "Guarantee", "Landscape", "Report", "Trace", "assess", "path_sum", "predict", "squared_gradients", "trace",
    "glorot", "he", "he_fan_out", "lecun", "orthogonal", "rademacher", "torch_default", "truncated_normal",
    "batchnorm", "importance", "initialisation", "moments",
]  # fmt: skip

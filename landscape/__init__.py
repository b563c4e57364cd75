"""The importance landscape that a network's topology forces on it at initialisation.

`predict(model, shape)` traces a torch model (or takes a `lattice.Lattice`) and sums the variances of the weights over all
paths (Proposition 1, Eq. 8); the `Landscape` that it returns says how far it can be trusted, and why not further.
"""

from landscape.advise import Advice, Change, advise
from landscape.laws import batchnorm, moments
from landscape.laws.moments import path_sum, squared_gradients
from landscape.maps import measures as importance
from landscape.maps.measures import Report
from landscape.output_map import output_map
from landscape.predict import Landscape, predict
from landscape.prior import Gates, Prior
from landscape.tracing.trace import Trace, trace
from landscape.warrant.guarantee import Guarantee, assess
from landscape.weights import initialisation
from landscape.weights import initialisation as initialization
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
    # a prediction, how far it can be trusted, and its numbers
    "predict", "output_map", "Landscape", "Guarantee", "Report", "importance",
    # what to change
    "advise", "Advice", "Change",
    # a torch model as a lattice, and what is known of its weights and gates
    "trace", "Trace", "Prior", "Gates",
    # initialisations: V[w] by layer
    "he", "he_fan_out", "glorot", "lecun", "torch_default", "orthogonal", "rademacher", "truncated_normal", "initialisation",
    "initialization",
    # the laws themselves (Eq. 8, Lemma 2)
    "squared_gradients", "path_sum", "assess", "moments", "batchnorm",
]  # fmt: skip

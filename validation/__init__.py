"""Is it true? Monte Carlo over random initialisations with honest statistics."""

from validation.montecarlo.build import build
from validation.montecarlo.compare import Agreement, Verdict, compare
from validation.montecarlo.enumerate import enumerated_squared_gradients
from validation.montecarlo.figure import plot_agreement
from validation.montecarlo.measure import Estimate, measure

__all__ = [
    "Agreement",
    "Estimate",
    "Verdict",
    "build",
    "compare",
    "enumerated_squared_gradients",
    "measure",
    "plot_agreement",
]

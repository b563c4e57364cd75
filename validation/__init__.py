"""Is it true? Monte Carlo over random initialisations with honest statistics, Lemma 1, trained networks, the regulariser."""

from typing import TYPE_CHECKING

from lattice.lazy import lazy_exports

if TYPE_CHECKING:
    from validation.comparison.compare import Verdict, compare
    from validation.comparison.figure import plot_against_paths, plot_agreement, plot_z
    from validation.comparison.judges import assert_agrees, assert_chi_square, assert_exact, negative_controls
    from validation.fields.comparisons import compare_fields, field_growth
    from validation.fields.field import EffectiveField
    from validation.fields.halo import halo
    from validation.fields.measure import effective_receptive_field
    from validation.fields.predicted import beside, predicted_field
    from validation.gradients.empirical import empirical_landscape
    from validation.gradients.objective import curvature_penalty, importance_map, smoothness_target, target_penalty
    from validation.montecarlo.build import build
    from validation.montecarlo.enumerate import enumerated_squared_gradients
    from validation.montecarlo.measure import Estimate, measure
    from validation.studies.shuffle import shuffled_importance
    from validation.training.penalty import Penalty
    from validation.training.recipes import Recipe

__all__ = [
    # Monte Carlo, and its comparison with a prediction
    "measure", "Estimate", "compare", "Verdict", "plot_agreement", "plot_z", "plot_against_paths", "build",
    # tests that a prediction must pass, and predictions that must fail them
    "assert_exact", "assert_chi_square", "assert_agrees", "negative_controls", "enumerated_squared_gradients",
    # the input gradients of a network over a data set (Lemma 1, Eq. 14)
    "empirical_landscape", "shuffled_importance",
    # effective receptive fields
    "effective_receptive_field", "EffectiveField", "predicted_field", "beside", "compare_fields", "field_growth", "halo",
    # the regulariser (Section 3.3), and training with it
    "importance_map", "curvature_penalty", "target_penalty", "smoothness_target", "Penalty", "Recipe",
]  # fmt: skip

# torch takes seconds to import, which the command line's help need not wait for
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "validation.comparison.compare": ["Verdict", "compare"],
        "validation.comparison.figure": ["plot_against_paths", "plot_agreement", "plot_z"],
        "validation.comparison.judges": ["assert_agrees", "assert_chi_square", "assert_exact", "negative_controls"],
        "validation.fields.comparisons": ["compare_fields", "field_growth"],
        "validation.fields.field": ["EffectiveField"],
        "validation.fields.halo": ["halo"],
        "validation.fields.measure": ["effective_receptive_field"],
        "validation.fields.predicted": ["beside", "predicted_field"],
        "validation.gradients.empirical": ["empirical_landscape"],
        "validation.gradients.objective": ["curvature_penalty", "importance_map", "smoothness_target", "target_penalty"],
        "validation.montecarlo.build": ["build"],
        "validation.montecarlo.enumerate": ["enumerated_squared_gradients"],
        "validation.montecarlo.measure": ["Estimate", "measure"],
        "validation.studies.shuffle": ["shuffled_importance"],
        "validation.training.penalty": ["Penalty"],
        "validation.training.recipes": ["Recipe"],
    },
)

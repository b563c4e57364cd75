"""The faults: one wrong piece of each rule, and the tests of the default suite that must notice it."""

from tests.faults.anchors import definition
from tests.faults.planting import Fault


def examples(name: str) -> str:
    """The file of a function, whose examples are its test."""
    return definition(name).file


FIELDS = "tests/validation/fields"
LAYERS = f"{FIELDS}/attribution/test_layers.py"
WORDS = "tests/lattice/counts/test_counting.py::test_counts_are_numbers_of_command_vectors"
TRANSPOSE = "tests/lattice/network/windows/test_axis.py::test_pulling_is_the_transpose_of_reading"
TORCH_LAYER = "tests/lattice/test_against_torch.py::test_a_layer_reads_what_torch_reads"
TORCH_FIXED = "tests/lattice/test_against_torch.py::test_a_layer_with_fixed_weights_reads_what_torch_reads"
TORCH_CONV, TORCH_SHUFFLE = f"{TORCH_LAYER}[Conv]", f"{TORCH_LAYER}[ChannelShuffle]"
TORCH_TRANSPOSED = f"{TORCH_LAYER}[ConvTranspose]"
ENUMERATED = "tests/landscape/test_exactness.py::test_nothing_is_called_exact_that_enumeration_can_refute"
GATED = "tests/landscape/test_exactness.py::test_relu_chains_under_a_flatten_head_are_exact_at_any_width"
RESIDUAL = "tests/landscape/test_exactness.py::test_linear_residual_nets_are_exact_under_any_head"
GENERAL = "tests/landscape/test_exactness.py::test_where_single_paths_are_not_enough_the_general_law_is_exact"
HONEST = "tests/landscape/test_exactness.py::test_where_no_law_is_exact_the_prediction_says_so"
INITIALISED = "tests/landscape/weights/test_initialisation.py::test_an_initialisation_by_name_is_what_torch_draws"
TRACED = "tests/landscape/tracing/test_trace.py::test_the_traced_lattice_has_the_paths_of_the_model"
TRACE = "tests/landscape/tracing/test_trace.py"
REFUSED = f"{TRACE}::test_what_would_give_a_plausible_wrong_map_is_refused"
LEVELS = "tests/landscape/gates/forward/test_levels.py::test_two_inputs_differ_at_one_position"
LEMMA_2 = "tests/landscape/laws/test_batchnorm.py"
HEAD = "tests/landscape/laws/test_pooled_head.py::test_both_laws_together_are_the_infinite_width_limit_for_white_inputs"
TRUNK = "tests/landscape/laws/test_trunk.py"
FILTERS = "tests/landscape/gates/test_filters.py::test_two_taps_of_one_filter_are_those_of_a_simulation"
OVERLAPS = "tests/landscape/laws/positions/test_through_ops.py"
PRODUCT = "tests/lattice/test_products.py::test_counts_of_products_are_the_number_of_listed_commands"
MAPS = "tests/landscape/maps/test_measures.py"
PASCAL, BIGINT = "tests/lattice/closed_forms/test_pascal.py", "tests/lattice/counts/test_bigint.py"
EVENNESS = "tests/lattice/geometry/test_evenness.py"
MEASURE = "tests/validation/montecarlo/test_measure.py"
JUDGES = "tests/validation/comparison/test_judges.py"
OBJECTIVE = "tests/validation/gradients/test_objective.py"
EMPIRICAL = "tests/validation/gradients/test_empirical.py"
EVALUATION = "tests/validation/evaluation/test_evaluation.py"

FAULTS: dict[str, tuple[Fault, ...]] = {
    "windows and paths": (
        Fault("stride off by one", "Window.cell", "self.stride * X", "(self.stride + 1) * X", (WORDS,)),
        Fault("padding on the wrong side", "Window.runs", "(X, self.padding[0])", "(X, self.padding[1])", (TORCH_CONV,)),
        Fault("dilation ignored", "Window.runs", "self.dilation * X", "X", (WORDS, TRANSPOSE)),
        Fault("span one too long", "Window.span", "self.kernel - 1", "self.kernel", (TORCH_CONV,)),
        Fault("ceil mode keeps a window that starts in the padding", "Window.outputs", "X >= n + lo",
              "X > n + lo", (f"{TORCH_FIXED}[Pool]",)),
        Fault("reflection repeats the border", "Window._source", "-position if X else Y",
              "-position - 1 if X else Y", (TORCH_CONV,)),
        Fault("circular padding reads the wrong end", "Window._source", "position % n", "-position % n", (TORCH_CONV,)),
        Fault("a transposed window forgets its stride", "TransposedWindow.cell", "divmod(X, self.stride)",
              "divmod(X, 1)", (TORCH_TRANSPOSED,)),
        Fault("adaptive bins end too early", "AdaptiveWindow._end", "-(-X * Y // self.size)",
              "X * Y // self.size", (f"{TORCH_FIXED}[AdaptivePool]",)),
        Fault("shared additions one short", "Window.pull", "divmod(self.kernel, X)", "divmod(self.kernel - 1, X)", (WORDS,)),
        Fault("height and width swapped", "_moving_axes", "op.windows(X)", "op.windows(X)[::-1]", (WORDS,)),
        Fault("skip dropped", "pull[Add]", "(cotangent,) * len(inputs)",
              "(cotangent, *(0 * cotangent for _ in inputs[1:]))", (WORDS,)),
        Fault("a product that pulls back to its first factor only", "pull[Multiply]",
              "(sum_broadcast(X, shape, Y) for shape in inputs)",
              "((i == 0) * sum_broadcast(X, shape, Y) for i, shape in enumerate(inputs))",
              (PRODUCT,)),
        Fault("skip doubled", "accumulate", "X + passed", "X + 2 * passed", (WORDS,)),
        Fault("groups ignored", "sum_channels", "alike = X // groups", "alike = X", (WORDS,)),
        Fault("groups in the wrong order", "sum_channels", "np.repeat(X, Y, axis=Z)",
              "np.concatenate([X] * (Y), axis=Z)", (TORCH_CONV,)),
        Fault("shuffle the wrong way", "pull[ChannelShuffle]", "np.argsort(X)", "X", (TORCH_SHUFFLE,)),
        Fault("a slice that starts at zero", "pull[Slice]", "X[op.start : op.stop]", "X[0 : op.stop - op.start]", (WORDS,)),
        Fault("a concatenation in reverse", "pull[Concat]", "tuple(np.split(X, Y, axis=Z))",
              "tuple(np.split(X, Y, axis=Z))[::-1]", (WORDS,)),
        Fault("a count in int64", "path_counts",
              "_pull_back_ones(X, Y, Z)",
              "_pull_back_ones(X, Y.astype('int64'), Z).astype(object)",
              ("tests/lattice/counts/test_limbs.py::test_a_count_may_lie_at_the_edge_of_a_machine_word",)),
    ),
    "closed forms and geometry": (
        Fault("Miller's recurrence one off", "pascal_row", "2 * depth", "2 * depth - 1", (PASCAL,)),
        Fault("inclusion without exclusion", "pascal_coefficient", "j - depth", "depth - j", (PASCAL,)),
        Fault("Stern's halves exchanged", "stern", "n & 1", "not n & 1", (f"{PASCAL}::test_stern_is_the_oeis_sequence",)),
        Fault("binomials without their carries", "binomial", "(n - k) // X",
              "(n - k - 1) // X", (f"{BIGINT}::test_binomials_from_their_primes",)),
        Fault("products without their sign", "product", "total if X else -total", "total", (BIGINT,)),
        Fault("evenness without the last window", "lean[Window]",
              "X - n - window.padding[0]",
              "window.padding[1] - window.padding[0]",
              (f"{EVENNESS}::test_with_equal_paddings_a_stage_is_even_iff_its_stride_divides",)),
        Fault("padding read beyond the padding", "padding_read[Window]", "X < n + window.padding[1]",
              "X <= n + window.padding[1]", (f"{EVENNESS}::test_what_a_stage_reads_of_its_padding",)),
    ),
    "moments": (
        Fault("standard deviation for variance", "second_moment[Weighted]", "rules.variances[X]",
              "rules.variances[X] ** 0.5", ("tests/landscape/laws/test_moments.py::test_variances_multiply_along_paths",)),
        Fault("1 / n for 1 / n^2", "second_moment[Pooling]", "cells**2", "cells", (ENUMERATED,)),
        Fault("the gate of 1/2 dropped", "activation_gain", "(below + above) / 2", "below + above", (GATED,)),
        Fault("a gate squared before its mean", "activation_gain", "(below + above) / 2",
              "(sum(slopes(activation)) / 2) ** 2", (GATED,)),
        Fault("a gate behind a gate closed again", "activation_gain", "{Sign.NONNEGATIVE: X, Sign.NONPOSITIVE: Y}",
              "{Sign.NONPOSITIVE: Y}", (examples("activation_gain"),)),
        Fault("a sum of data taken for a filter", "output_sign[Add]", "Sign.SUM if X else Sign.SKEWED",
              "Sign.SUM", (HONEST, ENUMERATED)),
        Fault("single paths where maps overlap", "through_step", "diagonal = X",
              "above, below, diagonal = above, below, True", (GENERAL,)),
        Fault("the sign of a norm's factor dropped", "first_moment[Norm]", "rules.factor_sign(X) * Y",
              "Y", (f"{OVERLAPS}::test_signs_count_where_branches_share_their_weights",)),
        Fault("a shared mask taken as independent at pairs of positions", "pair_moment[Dropout]",
              "X if op.shared == 'unit' else Y",
              "X",
              (f"{OVERLAPS}::test_a_mask_that_positions_share_doubles_every_pair",)),
        Fault("a moment at the wrong lag", "Pairs.second", "self.codes", "self.codes + 1", (GENERAL,)),
        Fault("one map on both sides", "_entries", "X[one] * Y[two]", "X[one]", (GENERAL,)),
        Fault("fan_in of all groups", "fans[Conv]", "shape[0] // op.groups * X", "shape[0] * X", (INITIALISED,)),
        Fault("kaiming's gain dropped", "he", "2 / X", "1 / X", (INITIALISED,)),
        Fault("a uniform bound for a variance", "torch_default", "3 * X", "X", (INITIALISED,)),
        Fault("gamma for gamma squared", "_read_node", "coefficient**2",
              "coefficient", (f"{TRACE}::test_a_reshaped_parameter_scales_the_channels_and_nothing_else",)),
        Fault("tied weights not seen", "_tied", "len(layers) > 1", "len(layers) > 9", (REFUSED,)),
        Fault("a mean that is not zero not seen", "LEAST_CHANCE", "2e-9", "1e-300", (REFUSED,)),
        Fault("Bessel's factor the wrong way", "train_factors", "X * (samples - 1) / samples",
              "X * samples / (samples - 1)", (examples("train_factors"),)),
        Fault("power without its level", "batch_variance", "level.of_mean",
              "_over_positions(z.cross)", (f"{LEMMA_2}::test_what_padding_adds_to_a_batch_has_no_level",)),
        Fault("a position and itself as one input's", "_laws", "False if two_inputs else on_diagonal(axes)",
              "on_diagonal(axes)", (LEVELS,)),
        Fault("dropout without its scale", "laws:_gain", "1 / (1 - X.p)",
              "1.0", (f"{LEMMA_2}::test_dropout_raises_the_second_moment",)),
        Fault("a head without its correlation", "_per_channel", "np.array([read.correlation])",
              "np.zeros(1)", (f"{HEAD}[pool below]",)),
        Fault("a kernel without its covariance", "closed_moments", "m * relu + X", "m * relu", (f"{HEAD}[abs]",)),
        Fault("an absolute value taken for no gate", "_findings[Activation]", "set(slopes(X))",
              "{abs(slope) for slope in slopes(X)}", (HONEST,)),
        Fault("neighbouring gates independent", "Trunk._pass_down",
              "np.where(X, ratio(kept, passed), Y)",
              "np.where(X, np.ones_like(kept), np.ones_like(Y))",
              (f"{TRUNK}::test_the_factors_of_a_run_are_those_of_its_paths_counted_one_by_one",)),
        Fault("an open gate that its own tap does not notice", "filters:averaged", "share(joined, X, opened[0] ** 2, Y)",
              "share(joined, X, np.ones_like(opened[0]), Y)", (FILTERS,)),
        Fault("Eq. 14 with mean one", "importance", "np.sqrt(np.mean(np.square(X)))", "np.mean(X)", (MAPS,)),
        Fault("total variation without squares", "total_variation", "np.square(X)",
              "np.abs(X)", (f"{MAPS}::test_total_variation_is_the_mean_squared_step",)),
        Fault("a traced dilation forgotten", "rule[conv2d]",
              "Conv(X, Y, per_axis(a['stride'], axes), Z, per_axis(a['dilation'], axes), a['groups'])",
              "Conv(X, Y, per_axis(a['stride'], axes), Z, 1, a['groups'])",
              (TRACED,)),
    ),
    "measurement": (
        Fault("outputs summed before they are squared", "Sampler._cotangents", "X.mul_(2).sub_(1)",
              "X.mul_(0).add_(1)", (f"{MEASURE}::test_outputs_are_squared_before_they_are_summed",)),
        Fault("Z forgotten", "Sampler.squares", "X / prod(self.output_shape[1:])", "X", (MEASURE, JUDGES)),
        Fault("every draw the first", "_seeds", "np.random.SeedSequence((X, index))",
              "np.random.SeedSequence((X, 0))", (MEASURE, JUDGES)),
        Fault("noise taken for error", "compare", "deviation**2 - error**2",
              "deviation**2", (f"{MEASURE}::test_without_an_error_the_debiased_error_is_zero_as_often_as_not",)),
        Fault("unreachable pixels forgiven", "compare", "unreachable or X",
              "X", (f"{MEASURE}::test_unreachable_pixels_must_have_no_gradient_at_all",)),
        Fault("standard errors of one block", "montecarlo:_error", "X * count / (count - 1)",
              "X * count**2", (f"{MEASURE}::test_prediction_and_measurement_agree_and_a_planted_error_does_not[linear]",)),
        Fault("enumeration of half the patterns", "enumerated_squared_gradients", "2**total",
              "2 ** (total - 1) + 1", (GENERAL, RESIDUAL)),
        Fault("the most probable class instead of a drawn one", "sample_classes", "X.clamp_(max=Y)",
              "p.argmax(dim=1, keepdim=True)", (OBJECTIVE,)),
        Fault("a penalty in training mode", "Record._linear", "first_only and not training",
              "first_only", (f"{OBJECTIVE}::test_dropout_that_cannot_be_switched_off_has_no_linear_rule",)),
        Fault("gates open at the corner", "GATES", "lambda a: (a > 0).to(a.dtype)",
              "lambda a: (a > 1).to(a.dtype)", (f"{OBJECTIVE}::test_the_ways_agree_in_float64",)),
        Fault("a Laplacian with a wrong centre", "laplacian", "-2.0",
              "-1.0", (f"{OBJECTIVE}::test_the_laplacian_is_the_five_point_stencil",)),
        Fault("curvature without its mean", "curvature_penalty", "X - X.mean()",
              "X", (f"{OBJECTIVE}::test_the_laplacian_is_the_five_point_stencil",)),
        Fault("a map of norms instead of squares", "importance_map", "X.square()", "X.abs()", (OBJECTIVE,)),
        Fault("images moved the other way", "translated", "X - down", "X + down", (EVALUATION,)),
        Fault("the least relevant pixels first", "ratios", "X.argsort(descending=True, stable=True)",
              "X.argsort(descending=False, stable=True)", (EVALUATION,)),
        Fault("a jackknife without its blocks", "jackknife", "(h - 1) * X",
              "h * X", (f"{EMPIRICAL}::test_the_jackknife_of_a_mean_is_the_textbook_standard_error",)),
    ),
    "fields": (
        Fault("a field with all signs alike", "_signs", "2 * X - 1",
              "0 * X + 1", (f"{FIELDS}/test_known_fields.py::test_channels_are_summed_by_random_signs_without_bias",)),
        Fault("squares summed over channels, not averaged", "contributions", "X / prod(h.shape[1:])",
              "X / prod(h.shape[2:])", (f"{FIELDS}/test_known_fields.py::test_a_recurrence_forgets_geometrically",)),
        Fault("images that are read as time", "fields:_own", "g[1].any()",
              "g[1].isnan().any()", (f"{LAYERS}::test_images_that_are_read_as_time_are_noticed",)),
        Fault("a layer without a copy", "UpTo.forward", "_copied(X)",
              "X", (f"{LAYERS}::test_a_later_layer_in_place_does_not_change_what_the_layer_returned",)),
        Fault("a class token forgotten", "Layer.unit", "self.leading + X",
              "X", (f"{LAYERS}::test_a_vision_transformer_has_a_grid_of_tokens_after_its_class_token",)),
        Fault("a hook that stays", "UpTo.forward", "handle.remove()",
              "handle.id", (f"{FIELDS}/test_nothing_left.py::test_the_model_and_the_images_are_left_as_they_were",)),
        Fault("scores without their logarithm", "published_area_ratio", "np.log1p(X)",
              "X", (f"{FIELDS}/test_published_scores.py::test_the_area_ratio_is_that_of_the_published_script",)),
        Fault("squares from side one on", "published_area_ratio", "held[1:X]",
              "held[0:X]", (f"{FIELDS}/test_published_scores.py::test_the_area_ratio_is_that_of_the_published_script",)),
        Fault("influence beyond and at h", "share_beyond", "np.append(tails[1:], 0.0)",
              "tails", (f"{FIELDS}/test_halo.py::test_the_shares_of_a_known_kernel_and_the_overlap_for_each_share",)),
        Fault("the best phase instead of the worst", "halo",
              "[X] if unit is not None else _phases(X, Y, Z)",
              "[X] if unit is None else _phases(X, Y, Z)",
              (f"{FIELDS}/test_halo.py::test_the_worst_phase_is_found_and_the_receptive_field_is_exact",)),
        Fault("a receptive field that counts as covered too soon", "unproductive_layers", "seen > n",
              "seen > n - 2", ("tests/landscape/test_unproductive.py",)),
    ),
}  # fmt: skip

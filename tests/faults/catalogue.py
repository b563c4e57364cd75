"""The faults: one wrong piece of each rule, and the tests of the default suite that must notice it."""

from tests.faults.planting import Fault

FIELDS = "tests/validation/fields"
WORDS = "tests/lattice/test_path_counts.py::test_counts_are_numbers_of_command_vectors"
TRANSPOSE = "tests/lattice/test_pullback.py::test_pulling_is_the_transpose_of_reading"
TORCH_LAYER = "tests/lattice/test_against_torch.py::test_a_layer_reads_what_torch_reads"
TORCH_FIXED = "tests/lattice/test_against_torch.py::test_a_layer_with_fixed_weights_reads_what_torch_reads"
TORCH_CONV, TORCH_SHUFFLE = f"{TORCH_LAYER}[Conv]", f"{TORCH_LAYER}[ChannelShuffle]"
TORCH_TRANSPOSED = f"{TORCH_LAYER}[ConvTranspose]"
ENUMERATED = "tests/landscape/test_exactness.py::test_nothing_is_called_exact_that_enumeration_can_refute"
GATED = "tests/landscape/test_exactness.py::test_relu_chains_under_a_flatten_head_are_exact_at_any_width"
RESIDUAL = "tests/landscape/test_exactness.py::test_linear_residual_nets_are_exact_under_any_head"
GENERAL = "tests/landscape/test_exactness.py::test_where_single_paths_are_not_enough_the_general_law_is_exact"
HONEST = "tests/landscape/test_exactness.py::test_where_no_law_is_exact_the_prediction_says_so"
INITIALISED = "tests/landscape/test_trace.py::test_an_initialisation_by_name_is_what_torch_draws"
TRACED = "tests/landscape/test_trace.py::test_the_traced_lattice_has_the_paths_of_the_model"
TRACE = "tests/landscape/test_trace.py"
REFUSED = f"{TRACE}::test_what_would_give_a_plausible_wrong_map_is_refused"
LEMMA_2 = "tests/landscape/test_batchnorm.py"
HEAD = "tests/landscape/test_pooled_head.py::test_both_laws_together_are_the_infinite_width_limit_for_white_inputs"
TRUNK = "tests/landscape/test_trunk.py"
OVERLAPS = "tests/landscape/test_covariance.py"
PRODUCT = "tests/lattice/test_products.py::test_counts_of_products_are_the_number_of_listed_commands"
MAPS = "tests/landscape/test_importance.py"
FORMS = "tests/lattice/test_closed_forms.py"
GEOMETRY = "tests/lattice/test_geometry.py"
MEASURE = "tests/validation/test_measure.py"
JUDGES = "tests/validation/test_judges.py"
OBJECTIVE = "tests/validation/test_training_objective.py"
EMPIRICAL = "tests/validation/test_empirical.py"
EVALUATION = "tests/validation/test_evaluation.py"

WINDOW, PULL = "lattice/window.py", "lattice/pullback.py"
CONNECTIONS, COVARIANCE, GAINS = "landscape/connections.py", "landscape/covariance.py", "landscape/gains.py"
INIT, WEIGHTS, NORM = "landscape/initialisation.py", "landscape/weights.py", "landscape/batchnorm.py"

FAULTS: dict[str, tuple[Fault, ...]] = {
    "windows and paths": (
        Fault("stride off by one", WINDOW, "self.stride * j + self.dilation * k - self.padding[0]",
              "(self.stride + 1) * j + self.dilation * k - self.padding[0]", (WORDS,)),
        Fault("padding on the wrong side", WINDOW, "outputs, lo = self.outputs(n), self.padding[0]",
              "outputs, lo = self.outputs(n), self.padding[1]", (TORCH_CONV,)),
        Fault("dilation ignored", WINDOW, "lines = [(self.dilation * k - lo, self.stride, 0, 1, outputs)",
              "lines = [(k - lo, self.stride, 0, 1, outputs)", (WORDS, TRANSPOSE)),
        Fault("span one too long", WINDOW, "return self.dilation * (self.kernel - 1) + 1",
              "return self.dilation * self.kernel + 1", (TORCH_CONV,)),
        Fault("ceil mode keeps a window that starts in the padding", WINDOW, ">= n + lo:", "> n + lo:",
              (f"{TORCH_FIXED}[Pool]",)),
        Fault("reflection repeats the border", WINDOW, "return -position if position < 0 else 2 * (n - 1) - position",
              "return -position - 1 if position < 0 else 2 * (n - 1) - position", (TORCH_CONV,)),
        Fault("circular padding reads the wrong end", WINDOW, "return position % n", "return -position % n", (TORCH_CONV,)),
        Fault("a transposed window forgets its stride", WINDOW, "divmod(j + self.padding[0] - self.dilation * k, self.stride)",
              "divmod(j + self.padding[0] - self.dilation * k, 1)", (TORCH_TRANSPOSED,)),
        Fault("adaptive bins end too early", WINDOW, "return -(-(j + 1) * n // self.size)", "return (j + 1) * n // self.size",
              (f"{TORCH_FIXED}[AdaptivePool]",)),
        Fault("shared additions one short", WINDOW, "length, more = divmod(self.kernel, period)",
              "length, more = divmod(self.kernel - 1, period)", (WORDS,)),
        Fault("height and width swapped", PULL, "zip(op.windows(spatial), spatial, range(-len(spatial), 0), strict=True)",
              "zip(op.windows(spatial)[::-1], spatial, range(-len(spatial), 0), strict=True)", (WORDS,)),
        Fault("skip dropped", PULL, "return (cotangent,) * len(inputs)\n\n\n@pull.register\ndef _(op: Multiply",
              "return cotangent, *(0 * cotangent for _ in inputs[1:])\n\n\n@pull.register\ndef _(op: Multiply", (WORDS,)),
        Fault("a product that pulls back to its first factor only", PULL,
              "return tuple(sum_broadcast(cotangent, shape, output) for shape in inputs)",
              "return tuple((i == 0) * sum_broadcast(cotangent, shape, output) for i, shape in enumerate(inputs))", (PRODUCT,)),
        Fault("skip doubled", PULL, "waiting[below] + passed if below in waiting",
              "waiting[below] + 2 * passed if below in waiting", (WORDS,)),
        Fault("groups ignored", PULL, "alike = above // groups", "alike = above", (WORDS,)),
        Fault("groups in the wrong order", PULL, "np.repeat(grouped, below // groups, axis=channel)",
              "np.concatenate([grouped] * (below // groups), axis=channel)", (TORCH_CONV,)),
        Fault("shuffle the wrong way", PULL, "np.take(cotangent, np.argsort(order), axis=-len(output))",
              "np.take(cotangent, order, axis=-len(output))", (TORCH_SHUFFLE,)),
        Fault("a slice that starts at zero", PULL, "[op.start : op.stop] = ", "[0 : op.stop - op.start] = ", (WORDS,)),
        Fault("a concatenation in reverse", PULL, "return tuple(np.split(cotangent, ends, axis=-len(output)))",
              "return tuple(np.split(cotangent, ends, axis=-len(output)))[::-1]", (WORDS,)),
        Fault("a count in int64", "lattice/counting.py", "one_unit(lattice, output, one=1), size)",
              "one_unit(lattice, output, one=1).astype('int64'), size).astype(object)",
              ("tests/lattice/test_digits.py::test_a_count_may_lie_at_the_edge_of_a_machine_word",)),
    ),
    "closed forms and geometry": (
        Fault("Miller's recurrence one off", "lattice/closed_forms.py", "count(2 * depth, -1)", "count(2 * depth - 1, -1)",
              (FORMS,)),
        Fault("inclusion without exclusion", "lattice/closed_forms.py", "numerator, denominator = j - depth, j + 1",
              "numerator, denominator = depth - j, j + 1", (FORMS,)),
        Fault("Stern's halves exchanged", "lattice/closed_forms.py", "        if n & 1:", "        if not n & 1:",
              (f"{FORMS}::test_stern_is_the_oeis_sequence",)),
        Fault("binomials without their carries", "lattice/integers.py", "- k // power[inside] - (n - k) // power[inside]",
              "- k // power[inside] - (n - k - 1) // power[inside]", (f"{FORMS}::test_binomials_from_their_primes",)),
        Fault("products without their sign", "lattice/integers.py", "return total if (a < 0) == (b < 0) else -total",
              "return total", (FORMS,)),
        Fault("evenness without the last window", "lattice/evenness.py", "return end - n - window.padding[0]",
              "return window.padding[1] - window.padding[0]",
              (f"{GEOMETRY}::test_with_equal_paddings_a_stage_is_even_iff_its_stride_divides_what_is_left",)),
        Fault("padding read beyond the padding", "lattice/evenness.py", "(cells < n + window.padding[1])]",
              "(cells <= n + window.padding[1])]", (f"{GEOMETRY}::test_what_a_stage_reads_of_its_padding",)),
    ),
    "moments": (
        Fault("standard deviation for variance", CONNECTIONS, "return rules.variances[node.name]",
              "return rules.variances[node.name] ** 0.5",
              ("tests/landscape/test_exactness.py::test_variances_multiply_along_paths",)),
        Fault("1 / n for 1 / n^2", CONNECTIONS, "weight = 1 / cells**2", "weight = 1 / cells", (ENUMERATED,)),
        Fault("the gate of 1/2 dropped", GAINS, ".get(sign, (below + above) / 2)", ".get(sign, below + above)", (GATED,)),
        Fault("a gate squared before its mean", GAINS, ".get(sign, (below + above) / 2)",
              ".get(sign, (sum(slopes(activation)) / 2) ** 2)", (GATED,)),
        Fault("a gate behind a gate closed again", GAINS, "return {Sign.NONNEGATIVE: above, Sign.NONPOSITIVE: below}",
              "return {Sign.NONPOSITIVE: below}", ("landscape/gains.py",)),
        Fault("a sum of data taken for a filter", GAINS, "return Sign.SUM if all(sign in (Sign.FILTER, Sign.SUM) for sign in "
              "inputs) else Sign.SKEWED\n\n\n@output_sign.register\ndef _(op: Concat",
              "return Sign.SUM\n\n\n@output_sign.register\ndef _(op: Concat", (HONEST, ENUMERATED)),
        Fault("single paths where maps overlap", COVARIANCE, "    if diagonal and (taps := local.taps(node)) is not None:",
              "    above, below, diagonal = above, below, True\n    if diagonal and (taps := local.taps(node)) is not None:",
              (GENERAL,)),
        Fault("the sign of a norm's factor dropped", CONNECTIONS,
              "return rules.factor_sign(node) * np.sqrt(rules.factor(node))", "return np.sqrt(rules.factor(node))",
              (f"{OVERLAPS}::test_signs_count_where_branches_share_their_weights",)),
        Fault("a shared mask taken as independent at pairs of positions", CONNECTIONS,
              'np.where(_same(axes), gain, 1.0) if op.shared == "unit" else gain', "np.where(_same(axes), gain, 1.0)",
              (f"{OVERLAPS}::test_a_mask_that_positions_share_doubles_every_pair",)),
        Fault("a moment at the wrong lag", "landscape/pairs.py", "return self.codes % self.right",
              "return (self.codes + 1) % self.right", (GENERAL,)),
        Fault("one map on both sides", "landscape/pairs.py", "values.append(entries[one] * other_entries[two])",
              "values.append(entries[one])", (GENERAL,)),
        Fault("fan_in of all groups", INIT, "return shape[0] // op.groups * taps, op.channels * taps",
              "return shape[0] * taps, op.channels * taps", (INITIALISED,)),
        Fault("kaiming's gain dropped", INIT, "return 2 / fans(op, shape)[0]", "return 1 / fans(op, shape)[0]", (INITIALISED,)),
        Fault("a uniform bound for a variance", INIT, "return 1 / (3 * fans(op, shape)[0])", "return 1 / fans(op, shape)[0]",
              (INITIALISED,)),
        Fault("gamma for gamma squared", WEIGHTS, "_one_or_each(coefficient**2)", "_one_or_each(coefficient)",
              (f"{TRACE}::test_a_reshaped_parameter_scales_the_channels_and_nothing_else",)),
        Fault("tied weights not seen", WEIGHTS, "        if len(layers) > 1", "        if len(layers) > 9", (REFUSED,)),
        Fault("a mean that is not zero not seen", "landscape/weight_draws.py", "LEAST_CHANCE = 2e-9", "LEAST_CHANCE = 1e-300",
              (REFUSED,)),
        Fault("Bessel's factor the wrong way", NORM, "factor = factor * (samples - 1) / samples",
              "factor = factor * samples / (samples - 1)", ("landscape/batchnorm.py",)),
        Fault("power without its level", "landscape/mean_field.py", "- np.sqrt(z.cross).mean(axis=axes, keepdims=True) ** 2)",
              "- z.cross.mean(axis=axes, keepdims=True))", (f"{LEMMA_2}::test_what_padding_adds_to_a_batch_has_no_level",)),
        Fault("dropout without its scale", NORM, "return 1 / (1 - node.op.p)", "return 1.0",
              (f"{LEMMA_2}::test_dropout_raises_the_second_moment",)),
        Fault("a head without its correlation", "landscape/pooled_head.py",
              "np.array([rho])", "np.zeros(1)",
              (f"{HEAD}[pool below]",)),
        Fault("a kernel without its covariance", "landscape/activations.py",
              "m * relu + r * s**2 * open_", "m * relu", (f"{HEAD}[abs]",)),
        Fault("an absolute value taken for no gate", "landscape/assumptions.py", "len(set(slopes(op))) == 1",
              "len({abs(slope) for slope in slopes(op)}) == 1",
              ("tests/landscape/test_exactness.py::test_where_no_law_is_exact_the_prediction_says_so",)),
        Fault("neighbouring gates independent", "landscape/trunk.py", "ratio(kept, passed), markov)[None]",
              "np.ones_like(kept), np.ones_like(markov))[None]",
              (f"{TRUNK}::test_the_factors_of_a_run_are_those_of_its_paths_counted_one_by_one",)),
        Fault("Eq. 14 with mean one", "landscape/importance.py", "np.sqrt(np.mean(np.square(values)))", "np.mean(values)",
              (MAPS,)),
        Fault("total variation without squares", "landscape/importance.py", "np.square(np.diff(landscape, axis=axis))",
              "np.abs(np.diff(landscape, axis=axis))", (f"{MAPS}::test_total_variation_is_the_mean_squared_step",)),
        Fault("a traced dilation forgotten", "landscape/aten_layers.py",
              'per_axis(a["stride"], axes), padding, per_axis(a["dilation"], axes), a["groups"])',
              'per_axis(a["stride"], axes), padding, 1, a["groups"])', (TRACED,)),
    ),
    "measurement": (
        Fault("outputs summed before they are squared", "validation/montecarlo/sampler.py",
              "signs = bits.flatten(1)[:, :count].to(self.dtype).mul_(2).sub_(1)",
              "signs = bits.flatten(1)[:, :count].to(self.dtype).mul_(0).add_(1)",
              (f"{MEASURE}::test_outputs_are_squared_before_they_are_summed",)),
        Fault("Z forgotten", "validation/montecarlo/sampler.py", "/ prod(self.output_shape[1:])\n        return np.asarray",
              "\n        return np.asarray", (MEASURE, JUDGES)),
        Fault("every draw the first", "validation/montecarlo/sampler.py", "np.random.SeedSequence((seed, index))",
              "np.random.SeedSequence((seed, 0))", (MEASURE, JUDGES)),
        Fault("noise taken for error", "validation/montecarlo/compare.py", "theta = float(np.mean(deviation**2 - error**2))",
              "theta = float(np.mean(deviation**2))",
              (f"{MEASURE}::test_without_an_error_the_debiased_error_is_zero_as_often_as_not",)),
        Fault("unreachable pixels forgiven", "validation/montecarlo/compare.py", "if unreachable or low > tolerance:",
              "if low > tolerance:", (f"{MEASURE}::test_unreachable_pixels_must_have_no_gradient_at_all",)),
        Fault("standard errors of one block", "validation/montecarlo/estimate.py", "* count / (count - 1)))", "* count**2))",
              (f"{MEASURE}::test_prediction_and_measurement_agree_and_a_planted_error_does_not[linear]",)),
        Fault("enumeration of half the patterns", "validation/montecarlo/enumerate.py", "patterns = 2**total",
              "patterns = 2 ** (total - 1) + 1", (GENERAL, RESIDUAL)),
        Fault("the most probable class instead of a drawn one", "validation/training/gradients.py",
              "return drawn.clamp_(max=logits.shape[1] - 1)", "return p.argmax(dim=1, keepdim=True)", (OBJECTIVE,)),
        Fault("a penalty in training mode", "validation/training/linearised.py", "return first_only and not training",
              "return first_only",
              (f"{OBJECTIVE}::test_dropout_that_cannot_be_switched_off_has_no_linear_rule",)),
        Fault("gates open at the corner", "validation/training/linearised.py",
              '"relu_": lambda a: (a > 0).to(a.dtype)', '"relu_": lambda a: (a > 1).to(a.dtype)',
              (f"{OBJECTIVE}::test_the_ways_agree_in_float64",)),
        Fault("a Laplacian with a wrong centre", "validation/training/objective.py", "kernel = np.array([1.0, -2.0, 1.0])",
              "kernel = np.array([1.0, -1.0, 1.0])", (f"{OBJECTIVE}::test_the_laplacian_is_the_five_point_stencil",)),
        Fault("curvature without its mean", "validation/training/objective.py",
              "return _reduced((curved - curved.mean()).square(), reduction)", "return _reduced(curved.square(), reduction)",
              (f"{OBJECTIVE}::test_the_laplacian_is_the_five_point_stencil",)),
        Fault("a map of norms instead of squares", "validation/training/objective.py",
              "squared = gradient.square().mean(dim=0)", "squared = gradient.abs().mean(dim=0)", (OBJECTIVE,)),
        Fault("images moved the other way", "validation/evaluation/shifts.py",
              "rows = (torch.arange(height) - down)", "rows = (torch.arange(height) + down)", (EVALUATION,)),
        Fault("the least relevant pixels first", "validation/evaluation/ablation.py", "argsort(descending=True, stable=True)",
              "argsort(descending=False, stable=True)", (EVALUATION,)),
        Fault("a jackknife without its blocks", "validation/evaluation/blocks.py", "spread = h * whole - (h - 1) * without",
              "spread = h * whole - h * without",
              (f"{EMPIRICAL}::test_the_jackknife_of_a_mean_is_the_textbook_standard_error",)),
    ),
    "fields": (
        Fault("a field with all signs alike", "validation/fields/contributions.py",
              "return (2 * torch.stack(rows) - 1)", "return (0 * torch.stack(rows) + 1)",
              (f"{FIELDS}/test_known_fields.py::test_channels_are_summed_by_random_signs_without_bias",)),
        Fault("squares summed over channels, not averaged", "validation/fields/contributions.py",
              "g.square().mean(dim=1) / prod(h.shape[1:])", "g.square().mean(dim=1) / prod(h.shape[2:])",
              (f"{FIELDS}/test_known_fields.py::test_a_recurrence_forgets_geometrically",)),
        Fault("images that are read as time", "validation/fields/contributions.py", "if bool(g[1].any()):",
              "if bool(g[1].isnan().any()):", (f"{FIELDS}/test_layers.py::test_images_that_are_read_as_time_are_noticed",)),
        Fault("a layer without a copy", "validation/fields/layers.py", "kept.append(_copied(returned))",
              "kept.append(returned)",
              (f"{FIELDS}/test_layers.py::test_a_later_layer_in_place_does_not_change_what_the_layer_returned",)),
        Fault("a class token forgotten", "validation/fields/layers.py", "(self.leading + int(", "(int(",
              (f"{FIELDS}/test_layers.py::test_a_vision_transformer_has_a_grid_of_tokens_after_its_class_token",)),
        Fault("a hook that stays", "validation/fields/layers.py",
              "model(x)\n            finally:\n                handle.remove()",
              "model(x)\n            finally:\n                handle.id",
              (f"{FIELDS}/test_nothing_left.py::test_the_model_and_the_images_are_left_as_they_were",)),
        Fault("scores without their logarithm", "validation/fields/numbers.py",
              "np.log1p(summed_over * found) / log(10)", "summed_over * found / log(10)",
              (f"{FIELDS}/test_published_scores.py::test_the_area_ratio_is_that_of_the_published_script",)),
        Fault("squares from side one on", "validation/fields/numbers.py", "inside = held[1 :", "inside = held[0 :",
              (f"{FIELDS}/test_published_scores.py::test_the_area_ratio_is_that_of_the_published_script",)),
        Fault("influence beyond and at h", "validation/fields/numbers.py", "np.append(tails[1:], 0.0)", "tails",
              (f"{FIELDS}/test_halo.py::test_the_shares_of_a_known_kernel_and_the_overlap_for_each_share",)),
        Fault("the best phase instead of the worst", "validation/fields/halo.py",
              "phases = [centre] if unit is not None else _phases(", "phases = [centre] if unit is None else _phases(",
              (f"{FIELDS}/test_halo.py::test_the_worst_phase_is_found_and_the_receptive_field_is_exact",)),
        Fault("a receptive field that counts as covered too soon", "landscape/unproductive.py",
              "all(seen > n for seen", "all(seen > n - 2 for seen",
              ("tests/landscape/test_unproductive.py",)),
    ),
}  # fmt: skip

"""Appendix A: Lemma 2 and the steps of its proof."""

from fractions import Fraction
from itertools import product

import numpy as np

from experiments.claims.appendix.batchnorm import corrected_jacobian, section
from experiments.claims.claim import Finding, listed, number
from experiments.claims.means import (
    chain,
    listed_counts,
    mean,
    outputs,
    relative_error,
    same,
    train_mode_gradient,
)
from landscape import predict
from landscape.laws.batchnorm import eq19, eq23
from lattice import Activation, Conv, Dense, Flatten, Lattice, Norm
from validation import measure


@section.claim(
    "Eq. 22",
    "so the squared derivative of BatchNorm ∘ Conv is about E[γ² (N − 1)/N · 1/V[A] · (∂a_j/∂h_i)²]",
    instead="((N − 1)/N)² · N/(N − 1) = (N − 1)/N: the steps multiply as printed; the error is O(N⁻¹).",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_corrected_lemma_holds_at_a_batch_of_16",),
)
def factors_multiply() -> Finding:
    exact = all(Fraction(n - 1, n) ** 2 * Fraction(n, n - 1) == Fraction(n - 1, n) for n in range(2, 50))
    random, errors = np.random.default_rng(0), []
    for count in (16, 128):
        rows = random.normal(size=(400, count))
        truth = np.mean([np.mean(np.diag(corrected_jacobian(row.tolist())) ** 2) for row in rows])
        errors.append(float(abs(truth / ((count - 1) / count) - 1)))
    return Finding(
        f"Gaussian values, 400 samples: relative error {listed(errors)} at N = 16, 128", exact and errors[1] < errors[0] / 3
    )


@section.claim(
    "after Eq. 22",
    "V[A] = V[h] Σ_k Σ_c w² “under the assumption that the entries of H are iid.”",
    instead="Uncorrelated is enough. Correlated neighbours change it (smooth images: up to (Σw)²), and zero padding lowers it "
    "at the border.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_one_layer_is_torchs_own_variance",),
)
def variance_of_a_convolution() -> Finding:
    values, w = (0, 1, 3), (2, -1)
    variance = mean(v * v for v in values) - mean(values) ** 2

    def spread(pairs: list[tuple[int, int]]) -> Fraction:
        sums = [w[0] * a + w[1] * b for a, b in pairs]
        return mean(s * s for s in sums) - mean(sums) ** 2

    independent = spread(list(product(values, repeat=2)))
    alike = spread([(v, v) for v in values])
    return Finding(
        f"h uniform on {{0, 1, 3}}, w = (2, −1): V[A] = {independent}, V[h] Σw² = {variance * 5}; both neighbours equal: "
        f"{alike}",
        printed=independent == variance * 5,
        corrected=alike == variance * sum(w) ** 2 != independent,
    )


def _exact_share(fan_in: int) -> Fraction:
    """E[w_1^2 / sum w^2], w independent and uniform on {1, 2, 3}: by listing them all, exactly."""
    return mean(Fraction(words[0] ** 2, sum(w * w for w in words)) for words in product((1, 2, 3), repeat=fan_in))


@section.claim(
    "Eq. 23",
    "E[w²/Σw²] is #p / arg max_i E_j[#p]",
    misprint=True,
    instead="arg max for max; and see the next row.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_printed_equations_are_refused_where_they_mean_nothing",),
)
def arg_max_for_max() -> Finding:
    counts = listed_counts(same(4, 1))
    place, largest = int(np.argmax(counts)), max(counts)
    ratios = [Fraction(c, largest) for c in counts]
    return Finding(
        f"k = 3 over 4 cells: counts {listed(counts)}, arg max {place} (a place, by which nothing can be divided), max "
        f"{largest}: ratios {listed(ratios)}",
        printed=place == largest,
        corrected=max(ratios) == 1 and min(ratios) > 0,
    )


@section.claim(
    "Eq. 23",
    "with max: the derivative of one BatchNorm ∘ Conv layer is (N − 1)/N · E[γ²] · #p̄_i / max_i′ #p̄_i′ · 1/V[h]",
    when="the max is over Σ_j #p, not over #p̄ (E_j for Σ_j again), C_in is C_out and the stride is 1: it is fan_in then",
    instead="#p̄_i / fan_in: E[w²/Σw²] = 1/fan_in exactly, by exchangeability, for any distribution of the weights. The map "
    "of one layer is right, its scale too large by fan_in / max_i #p̄_i: C_in times the number of output positions, times 1.5 "
    "at k = 3 and stride 2.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_printed_lemma_misses_map_and_scale",),
)
def fan_in_for_the_largest_count() -> Finding:
    def ratio(net: Lattice) -> float:
        """Eq. 23 against E_j of the sum over taps of w^2 / sum w^2, without (N - 1)/N and V[h]."""
        counts, units = listed_counts(net), len(outputs(net))
        fan_in = net.input_shape[0] * 3
        truth = np.array([c / units for c in counts]) * float(_exact_share(fan_in))
        batch = 1000
        with_norm = Lattice.chain(net.input_shape, [net.nodes[1].op, Norm()])
        samples = batch * with_norm.output_shape[1]
        printed = eq23(with_norm, "norm1", batch=batch) * samples / (samples - 1)
        assert relative_error(printed, truth) < 1e-9
        return float(printed.mean() / truth.mean())

    shares = all(_exact_share(n) == Fraction(1, n) for n in range(1, 7))
    plain, strided = ratio(same(4, 1)), ratio(chain(9, [Conv(1, 3, 2, padding=1)]))
    wide = ratio(Lattice.chain((2, 4), [Conv(3, 3, padding=1)]))
    square = {channels: Lattice.chain((channels, 4), [Conv(channels, 3, padding=1)]) for channels in (1, 2, 3)}
    return Finding(
        f"w uniform on {{1, 2, 3}}: E[w²/Σw²] = 1/fan_in for fan_in 1 to 6. Printed / true scale, k = 3: {number(plain)} (4 "
        f"cells, one channel), {number(wide)} (two channels to three), {number(strided)} (9 cells, stride 2); same map",
        printed=abs(plain - 1) < 1e-6,
        within=all(max(listed_counts(net)) == 3 * channels for channels, net in square.items()),
        corrected=shares and np.allclose([plain, wide, strided], [4, 2 * 4, 1.5 * 5]),
    )


@section.claim(
    "Eq. 19; after Eq. 23",
    "“The generalization to multiple layers follows by simple recursivity”: a product over layers of ratios at the index i",
    instead="Layers multiply along paths, not at one index: the right law is the path sum of Eq. 8 with V[w] replaced by (N − "
    "1)/N · E[γ²] / (fan_in V[h]), and 1/2 a ReLU. The index i names another position in every layer once there is a stride.",
    tests=(
        "tests/landscape/laws/test_batchnorm.py::test_the_printed_lemma_misses_map_and_scale",
        "tests/landscape/laws/test_batchnorm.py::test_printed_equations_are_refused_where_they_mean_nothing",
    ),
)
def layers_multiply_along_paths() -> Finding:
    one, two = listed_counts(same(3, 1)), listed_counts(same(3, 2))
    squared = [c * c for c in one]
    layers = [Conv(16, 3, padding=1), Norm()] * 3
    net = Lattice.chain((2, 16), layers)
    estimate = measure(net, draws=600, seed=0, device="cpu", mode="train", inputs_per_draw=16)
    printed, corrected = eq19(net, batch=16), predict(net, mode="train", batch=16).squared
    errors = relative_error(printed, estimate.mean), relative_error(corrected, estimate.mean)
    scales = printed.mean() / estimate.mean.mean(), estimate.mean.mean() / corrected.mean()
    return Finding(
        f"smallest: two k = 3 layers over 3 cells: ratios multiplied {listed(squared)}, paths {listed(two)}. Three conv–BN "
        f"layers of 16 channels over 16 cells, batch 16, 600 draws (seed 0): printed map {errors[0]:.0%} off and its scale "
        f"{scales[0]:.0f} times too large; corrected map {errors[1]:.1%} off (noise included), measured / predicted scale "
        f"{scales[1]:.2f}",
        printed=relative_error(squared, two) < 1e-9,
        corrected=errors[1] < 0.04 < errors[0] and abs(scales[1] - 1) < 0.1,
    )


@section.claim(
    "Lemma 2, Eq. 19",
    "the salience “is independent of the weight variance”",
    when="every convolution has its norm directly above it",
    instead="Layers without a norm above (the head) keep their variance as a factor of the scale.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_variance_of_the_weights_cancels",),
)
def lemma_2_forgets_the_weights() -> Finding:
    base = train_mode_gradient()
    below, above = train_mode_gradient(weights=(5, 0.2)) / base, train_mode_gradient(head=2) / base
    return Finding(
        f"weights of two layers times 5 and 1/5: squared gradient times {below:.4f}; the head's times 2: times {above:.4f}",
        printed=abs(above - 1) < 1e-9,
        within=abs(below - 1) < 1e-9,
    )


@section.claim(
    "Lemma 2, end of App. A",
    "the expected squared derivative is “in good approximation dependent of the input variance only”, and falls as 1/V[x]",
    instead="Deeper factors 1/V[h] are constants: V[h] = 1/2 − 1/(2π) after batch norm and ReLU.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_corrected_lemma_holds_at_a_batch_of_16",),
)
def falls_with_the_input_variance() -> Finding:
    ratios = [train_mode_gradient(inputs=scale) / train_mode_gradient() * scale**2 for scale in (0.1, 2.0, 30.0)]
    hidden = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0).var()
    return Finding(
        f"inputs times 0.1, 2, 30: squared gradient times V[x] stays {listed([round(r, 6) for r in ratios])} of itself; V[h] "
        f"of 200,000 Gaussian values: {hidden:.3f}, 1/2 − 1/(2π) = {0.5 - 0.5 / np.pi:.4f}",
        printed=all(abs(r - 1) < 1e-9 for r in ratios) and abs(hidden - 0.3408) < 0.005,
    )


@section.claim(
    "Lemma 2, “convolutions are interleaved with batch normalization”",
    "with ReLUs, as in all networks of the experiments, the same formula",
    instead="Each ReLU adds a factor 1/2; in residual networks the norms also weigh branch against skip, which changes the "
    "map.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_corrected_lemma_holds_at_a_batch_of_16",),
)
def relu_adds_a_half() -> Finding:
    def scale(gate: bool) -> tuple[float, float]:
        net = Lattice.chain(
            (1, 12), [Conv(16, 3, padding=1), Norm(), *([Activation("relu")] if gate else []), Flatten(), Dense(4)]
        )
        estimate = measure(net, draws=600, seed=0, device="cpu", mode="train", inputs_per_draw=16, initialisation=1.0)
        counts = np.array(listed_counts(Lattice.chain((1, 12), [Conv(1, 3, padding=1)])))
        plain = counts / 3 * 16  # paths / fan_in, times 16 channels below the head, whose weights have variance 1
        return float(estimate.mean.mean() / plain.mean()), relative_error(plain, estimate.mean)

    (linear, _), (gated, error) = scale(False), scale(True)
    return Finding(
        "conv–BN–(ReLU)–flatten–dense, 16 channels over 12 cells, batch 16, 600 draws (seed 0): measured / path sum "
        f"{linear:.2f} without the ReLU, {gated:.2f} with it",
        printed=abs(gated - 1) < 0.1,
        corrected=abs(2 * gated - linear) < 0.1 and error < 0.05,
    )

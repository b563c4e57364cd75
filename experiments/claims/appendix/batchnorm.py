"""Appendix A, Lemma 2 and Eq. 19 to 23: batch norm in train mode."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import torch
from scipy import integrate, stats

from experiments.claims.claim import Finding, Section, listed, number
from experiments.claims.means import (
    chain,
    listed_counts,
    mean,
    near,
    outputs,
    path_sum,
    truth,
)
from lattice import Conv

section = Section("Appendix A: batch norm in train mode, Lemma 2", [])

Array = np.ndarray


@section.claim(
    "Eq. 20",
    "E_j,W,H[(∂a_j/∂h_i)²] = (1/Z) V[w] E_j[#p]",
    misprint=True,
    instead="Without 1/Z, which E_j contains (as in Eq. 12), or with Σ_j for E_j.",
    tests=("tests/landscape/test_exactness.py::test_nothing_is_called_exact_that_enumeration_can_refute",),
)
def eq_20_divides_twice() -> Finding:
    net = chain(2, [Conv(1, 1)])
    found, counts = truth(net), path_sum(net)
    return Finding(
        f"smallest: two cells, K = 1, V = 1: {listed(found.tolist())} against {listed([c / 2 for c in counts])}",
        printed=near(found, [c / 2 for c in counts]),
        corrected=near(found, counts),
    )


@section.claim(
    "Eq. 20",
    "C_in ≤ E_j[#p_(a_j → h_i)] ≤ C_in Π_k κ_k",
    when="E_j is read as Σ_j, C_in is C_out, and the stride is 1",
    instead="One slip, E_j for Σ_j, would explain the rows of Eq. 12, Eq. 20 and Eq. 23's scale. As printed: 0 ≤ Σ_j #p ≤ "
    "C_out Π κ, so E_j[#p] ≤ 1 without copying padding: a path is counted from the output down, and "
    "below a stride larger than the kernel there are cells without any.",
    tests=("tests/landscape/maps/test_measures.py::test_blind_spots_are_pixels_that_no_path_reaches",),
)
def bounds_of_the_counts() -> Finding:
    def counts(channels: int, above: int, kernel: int, stride: int, size: int) -> tuple[list[int], int]:
        net = chain(size, [Conv(above, kernel, stride)], channels)
        return listed_counts(net), len(outputs(net))

    total, units = counts(2, 1, 1, 1, 1)
    sparse, _ = counts(1, 1, 1, 2, 3)
    tried = [
        (above, kernel, *counts(below, above, kernel, stride, 5))
        for below, above, kernel, stride in product((1, 2, 3), (1, 2), (1, 2, 3), (1, 2, 3))
    ]
    summed = all(
        channels <= count <= channels * kernel
        for channels, kernel in product((1, 2, 3), (1, 2, 3))
        for count in counts(channels, channels, kernel, 1, 5)[0]
    )
    true = all(0 <= count <= min(above * kernel, units) for above, kernel, row, units in tried for count in row)
    return Finding(
        f"smallest: C_in = 2, C_out = 1, one cell, K = 1: E_j[#p] = {Fraction(total[0], units)} < C_in = 2; K = 1, s = 2, "
        f"three cells: {listed(sparse)}",
        printed=Fraction(total[0], units) >= 2,
        within=summed,
        corrected=true,
    )


def jacobian_of_norm(a: Sequence[float], gamma: float = 1.0) -> Array:
    """d BatchNorm(a)_j / d a_i by autograd, without eps: rows j."""
    x = torch.tensor(a, dtype=torch.float64)

    def norm(values: torch.Tensor) -> torch.Tensor:
        return gamma * (values - values.mean()) / values.std(correction=0)

    found: Array = torch.autograd.functional.jacobian(norm, x).numpy()
    return found


def corrected_jacobian(a: Sequence[float], gamma: float = 1.0) -> Array:
    """gamma / sigma (delta_ij - 1/N - xhat_i xhat_j / N)."""
    values = np.array(a)
    count, sigma = len(values), values.std()
    standard = (values - values.mean()) / sigma
    return np.asarray(gamma / sigma * (np.eye(count) - 1 / count - np.outer(standard, standard) / count))


def printed_jacobian(a: Sequence[float], gamma: float = 1.0) -> Array:
    """gamma (delta_ij - 1/N) / sigma - (a_i - mean)^2 / (N sigma^3)."""
    values = np.array(a)
    count, sigma = len(values), values.std()
    return np.asarray(
        gamma * (np.eye(count) - 1 / count) / sigma - ((values - values.mean()) ** 2 / (count * sigma**3))[None, :]
    )


@section.claim(
    "BN Jacobian (before Eq. 21)",
    "∂BN_j/∂a_i = γ(δ_ij − 1/N)/σ − (a_i − ā)²/(Nσ³)",
    misprint=True,
    instead="∂BN_j/∂a_i = γ/σ · (δ_ij − 1/N − x̂_i x̂_j/N): γ belongs to the second term too, and the two coordinates "
    "multiply instead of one being squared.",
    tests=("tests/validation/montecarlo/test_measure.py::test_in_train_mode_a_sample_is_differentiated_by_itself_alone",),
)
def norm_jacobian() -> Finding:
    cases = [([0.0, 1.0], 1.0), ([0.0, 1.0], 2.0), ([0.3, -1.0, 2.0, 0.4], 1.5)]
    right = all(np.allclose(jacobian_of_norm(a, g), corrected_jacobian(a, g), atol=1e-12) for a, g in cases)
    truth, printed = jacobian_of_norm([0.0, 1.0]), printed_jacobian([0.0, 1.0])
    return Finding(
        f"smallest: N = 2, a = (0, 1), γ = 1: autograd gives {abs(truth[0, 1]):.0f} off the diagonal (a pair is always sent "
        f"to ±γ), the print {number(float(printed[0, 1]))}; γ = 2, on the diagonal: "
        f"{abs(jacobian_of_norm([0.0, 1.0], 2.0)[0, 0]):.0f} and {number(float(printed_jacobian([0.0, 1.0], 2.0)[0, 0]))}",
        printed=np.allclose(truth, printed),
        corrected=right,
    )


@section.claim(
    "Eq. 21",
    "the squared derivative is γ²((N − 1)/N)²/σ² + O(N⁻²) on the diagonal",
    instead="O(N⁻¹): the cross term −2γ²(N − 1)x̂_i²/(N²σ²) is of first order.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_corrected_lemma_holds_at_a_batch_of_16",),
)
def order_of_the_diagonal() -> Finding:
    random = np.random.default_rng(0)
    errors = {}
    for count in (16, 64, 256):
        a = random.normal(size=count)
        diagonal = np.diag(jacobian_of_norm(a.tolist())) * a.std()
        errors[count] = float(np.abs(diagonal**2 - ((count - 1) / count) ** 2).mean())
    first, second = [count * error for count, error in errors.items()], [count**2 * error for count, error in errors.items()]
    return Finding(
        f"γ = σ = 1, Gaussian a, N = 16, 64, 256: mean error times N is {listed(first)}, times N² {listed(second)}",
        printed=max(second) < 3 * min(second),
        corrected=max(first) < 1.5 * min(first),
    )


@section.claim(
    "Eq. 21",
    "off the diagonal it is O(N⁻²)",
    instead="Each entry is; there are N − 1 of them, so that together they weigh O(N⁻¹), as much as the diagonal's own error.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_gradient_is_zero_where_that_is_said",),
)
def order_off_the_diagonal() -> Finding:
    random, scaled, summed = np.random.default_rng(0), [], []
    for count in (16, 64, 256):
        a = random.normal(size=count)
        squared = (jacobian_of_norm(a.tolist()) * a.std()) ** 2
        off = squared.sum() - np.trace(squared)
        scaled.append(float(count**2 * off / (count * (count - 1))))
        summed.append(float(count * off / count))
    return Finding(
        f"N = 16, 64, 256: N² times the mean entry {listed(scaled)}, N times a row's sum {listed(summed)}",
        printed=max(scaled) < 1.5 * min(scaled),
        corrected=max(summed) < 1.5 * min(summed),
    )


@section.claim(
    "after Eq. 21",
    "it gives an “upper bound [of] the squared derivative of the BatchNorm layer, which is tight when the sample size … is "
    "high”",
    when="it is a bound of each diagonal entry",
    instead="What is left out can cancel it: under a global average in a batch of one, the derivative is exactly zero for "
    "every N.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_gradient_is_zero_where_that_is_said",),
)
def bound_of_the_diagonal() -> Finding:
    random, bounded, summed = np.random.default_rng(0), True, 0.0
    for count in (2, 3, 9, 99):
        for _ in range(20):
            a = random.normal(size=count)
            found = jacobian_of_norm(a.tolist()) * a.std()
            bounded &= bool((np.diag(found) ** 2 <= ((count - 1) / count) ** 2 + 1e-12).all())
            summed = max(summed, float(np.abs(found.sum(axis=0)).max()))
    return Finding(
        "80 Gaussian samples of N = 2, 3, 9, 99: every diagonal entry is below its bound; the sum over all outputs, of which "
        f"the kept terms say 1 − 1/N each, is {'zero within 1e-12' if summed < 1e-12 else number(summed)}",
        printed=bounded and summed > 0.5,
        within=bounded,
    )


@section.claim(
    "before Eq. 22",
    "E[1/σ²] ≥ 1/E[σ²] = N/(N − 1) · 1/V[x], with an error of O(N⁻¹)",
    when="N > 3 (for Gaussian values)",
    instead="For Gaussian values the left side is N/((N − 3)V), infinite for N ≤ 3: a relative error of 2/(N − 3).",
    tests=("tests/landscape/laws/test_batchnorm.py::test_one_layer_is_torchs_own_variance",),
)
def jensen() -> Finding:
    def inverse(count: int) -> float:
        """E[1/sigma^2] for N standard Gaussian values: N sigma^2 is chi-square with N - 1 degrees of freedom."""
        law = stats.chi2(count - 1)
        return float(count * integrate.quad(lambda x: law.pdf(x) / x, 0, np.inf)[0])

    values = (0, 1, 3)
    variance = mean(v * v for v in values) - mean(values) ** 2
    samples = list(product(values, repeat=3))
    sigma = mean(mean(s * s for s in sample) - mean(sample) ** 2 for sample in samples)
    equal = sigma == Fraction(2, 3) * variance
    errors = {count: inverse(count) * (count - 1) / count - 1 for count in (5, 9, 33, 129)}
    close = all(abs(error - 2 / (count - 3)) < 1e-6 for count, error in errors.items())
    tail = float(stats.chi2(2).pdf(1e-12))  # the density of N sigma^2 at zero for N = 3: 1/x against it does not integrate
    return Finding(
        f"exactly, N = 3 draws from {{0, 1, 3}}: E[σ²] = {sigma} = (2/3) V. Gaussian, relative error of the bound at N = 5, "
        f"9, 33, 129: {listed(list(errors.values()))}; at N = 3 the density of Nσ² at zero is {number(tail)}, so that E[1/σ²] "
        "is infinite",
        printed=tail < 1e-6,
        within=equal and close and min(errors.values()) > 0,
    )

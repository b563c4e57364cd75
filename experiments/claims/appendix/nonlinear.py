"""Appendix A, Eq. 18 and the ReLU."""

from fractions import Fraction
from itertools import product

import numpy as np
import torch
from scipy import integrate
from torch.nn import functional

from experiments.claims.claim import Finding, Section, listed
from experiments.claims.means import POOLED, chain, listed_counts, mean, outputs
from lattice import Activation, Conv, Dense, Flatten
from validation import enumerated_squared_gradients

section = Section("Appendix A: the ReLU", [])


@section.claim(
    "App. A, first sentence",
    "nonlinear activations “break the above logic”, so that “the expected feature importance is not independent of the data "
    "anymore”",
    when="gates are averaged over positions, stand behind residual sums, or are smooth",
    instead="More survives than the paper says: for plain conv–ReLU chains under a flatten head Proposition 1 is exact with "
    "1/2 a gate, for any input without an all-zero patch.",
    tests=("tests/landscape/test_exactness.py::test_relu_chains_under_a_flatten_head_are_exact_at_any_width",),
)
def relu_breaks_the_logic() -> Finding:
    relu = Activation("relu")
    flat = chain(4, [Conv(1, 2), relu, Conv(1, 2), relu, Flatten(), Dense(1)])
    first, second = (
        enumerated_squared_gradients(flat, np.array(x, float).reshape(1, 1, 4), 1.0) for x in ([2, 1, 3.2, 1.5], [1, 2, 4, 8])
    )
    law = [count / len(outputs(flat)) / 4 for count in listed_counts(flat)]
    kept = np.allclose(first, second) and np.allclose(first, law)
    pooled = chain(3, [Conv(1, 2), relu, *POOLED])
    one, other = (
        enumerated_squared_gradients(pooled, np.array(x, float).reshape(1, 1, 3), 1.0) for x in ([2, 1, 3.2], [1, 2, 4])
    )
    return Finding(
        f"conv–ReLU–conv–ReLU–flatten–dense over 4 cells, two inputs: {listed(first.tolist())} both times, the path sum with "
        f"1/2 a gate; conv–ReLU–average–dense over 3 cells: {listed(one.tolist())} and {listed(other.tolist())}",
        printed=not kept,
        within=not np.allclose(one, other),
    )


@section.claim(
    "Eq. 18",
    "(∂ReLU(a)/∂a)² is 1 if a > 0 and 0 otherwise",
    tests=("tests/landscape/gates/forward/test_mean_field.py::test_gaussian_moments_are_those_of_torchs_function",),
)
def slope_of_relu() -> Finding:
    a = torch.tensor([-2.0, -1e-9, 0.0, 1e-9, 3.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(functional.relu(a).sum(), a)
    return Finding(
        f"torch at −2, −1e−9, 0, 1e−9, 3: {listed([int(s) for s in slope])}",
        slope.square().tolist() == [0.0, 0.0, 0.0, 1.0, 1.0],
    )


@section.claim(
    "after Eq. 18",
    "“which is on expectation equal to ½ if a is equal to 0 on expectation”",
    when="a is symmetric about zero",
    instead="It is P(a > 0): the median must be zero, not the mean. Pre-activations are symmetric under fresh symmetric "
    "weights without biases; after a residual sum the gate is open more than half of the time.",
    tests=("tests/landscape/gates/forward/test_mean_field.py::test_theory_and_counting_agree_on_the_gates_of_a_residual_net",),
)
def gate_is_open_half_of_the_time() -> Finding:
    skewed, even = (-1, -1, 2), (-3, -1, 1, 3)
    rate = mean(int(a > 0) for a in skewed)
    # a skip: a = |w| + v is the sum of a rectified and a fresh value
    skip = mean(int(max(u, 0) + v > 0) for u, v in product((-2, -1, 1, 2), (Fraction(-3, 2), Fraction(3, 2))))
    symmetric = mean(int(a > 0) for a in even)
    return Finding(
        f"smallest: a uniform on {{−1, −1, 2}}, mean {mean(skewed)}: P(a > 0) = {rate}; ReLU(u) + v, u = ±1, ±2, v = ±3/2: "
        f"{skip}; symmetric {{±1, ±3}}: {symmetric}",
        printed=rate == Fraction(1, 2),
        within=symmetric == Fraction(1, 2),
    )


@section.claim(
    "after Eq. 18",
    "V[h] = V_N⁺[x]/2 − (E_N⁺[x]/2)² for h = ReLU(a), a ~ N(0, S), N⁺ the truncated normal",
    misprint=True,
    instead="The second moment stands where the variance is printed: V[h] = E_N⁺[x²]/2 − (E_N⁺[x]/2)² = S/2 − S/(2π) = 0.3408 "
    "S.",
    tests=("tests/landscape/gates/forward/test_mean_field.py::test_gaussian_moments_are_those_of_torchs_function",),
)
def variance_of_relu() -> Finding:
    def moment(power: int) -> float:
        """E[x^power] of the truncated normal with S = 1."""
        return 2 * integrate.quad(lambda x: x**power * np.exp(-x * x / 2) / np.sqrt(2 * np.pi), 0, np.inf)[0]

    truth = moment(2) / 2 - (moment(1) / 2) ** 2
    printed = (moment(2) - moment(1) ** 2) / 2 - (moment(1) / 2) ** 2
    drawn = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0).var()
    return Finding(
        f"S = 1: as printed {printed:.4f}, corrected {truth:.4f}; 200,000 draws: {drawn:.3f}",
        printed=abs(drawn - printed) < 0.01,
        corrected=abs(drawn - truth) < 0.005 and abs(truth - (0.5 - 0.5 / np.pi)) < 1e-9,
    )

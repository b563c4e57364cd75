"""Section 3.2, Lemma 1: shuffled importance and squared gradients, in exact rational arithmetic over finite populations."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import torch
from torch import nn

from experiments.claims.claim import Finding, Section, number
from experiments.claims.means import mean
from validation.datasets.catalogue import load
from validation.studies.shuffle import shuffled_importance

section = Section("3.2 Feature relevance: Lemma 1", [])

Function = Callable[[Fraction], Fraction]
Values = Sequence[Fraction]  # a population: every value equally likely

SIGNS = (Fraction(-1), Fraction(1))
SKEWED = (Fraction(-1), Fraction(-1), Fraction(2))
GRID = (Fraction(-3, 2), Fraction(0), Fraction(1, 3), Fraction(2))


def variance(values: Values) -> Fraction:
    return mean(value**2 for value in values) - mean(values) ** 2


def eq4(f: Function, values: Values) -> Fraction:
    """E[(E f - f)^2]."""
    centre = mean(map(f, values))
    return mean((centre - f(x)) ** 2 for x in values)


def shuffle(f: Function, values: Values) -> Fraction:
    """E[(f(x') - f(x))^2], x' an independent draw (Breiman's shuffle)."""
    return mean((f(other) - f(x)) ** 2 for x, other in product(values, values))


def eq7(f: Function, values: Values) -> Fraction:
    """E[(f(mean) - f)^2]."""
    centre = mean(values)
    return mean((f(centre) - f(x)) ** 2 for x in values)


def proxy(slope: Function, values: Values) -> Fraction:
    """V[x] E[f'(x)^2]: the lemma's last line."""
    return variance(values) * mean(slope(x) ** 2 for x in values)


def relu_net() -> nn.Module:
    """Two ReLU layers with biases, in float64, from a seed."""
    model = nn.Sequential(nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return model


@section.claim(
    "Eq. 4",
    "I(x_0) = E[(E_p(x_0)[f] − f)²] is “the (squared) permutation-based measure of feature importance”",
    when="a factor 2 is put in (and the inputs are independent)",
    instead="A shuffle replaces x_0 by another draw and not by the mean of f, which is exactly TWICE Eq. 4, for every f. As a "
    "ranking of the inputs the two are one.",
    tests=("tests/validation/studies/test_shuffle.py::test_with_independent_inputs_the_shuffle_is_twice_eq_4_for_any_net",),
)
def shuffle_is_twice_eq_4() -> Finding:
    bits = (Fraction(0), Fraction(1))
    one, other = eq4(lambda x: x, bits), shuffle(lambda x: x, bits)
    functions: list[Function] = [lambda x: x, abs, lambda x: x**3 - x, lambda x: max(x, Fraction(0))]
    exact = all(shuffle(f, values) == 2 * eq4(f, values) for f, values in product(functions, (bits, SIGNS, SKEWED, GRID)))
    grid = torch.tensor(list(product([-1.0, 0.3, 2.0], repeat=4))).double()[:, None]
    found = shuffled_importance(relu_net(), grid, generator=torch.Generator().manual_seed(0), replacements=None)
    network = np.abs(found.shuffled / found.expectation_replaced - 2).max() < 1e-9
    return Finding(
        f"smallest: f(x) = x, x a fair coin in {{0, 1}}: Eq. 4 gives {one}, the shuffle {other}. Ratio 2 on {4 * 4} pairs of "
        "a function and a population, and on a ReLU network over a grid",
        printed=one == other,
        within=exact and bool(network),
    )


@section.claim(
    "Eq. 5",
    "E[f(x_0)] ≈ f(x̄_0) + ½ f″(x̄_0) σ²(x_0)",
    when="f is at most quadratic in x_0",
    instead="Otherwise an approximation whose first error is f‴ times the third central moment over 6.",
    tests=("tests/validation/studies/test_shuffle.py::test_near_a_point_a_relu_net_is_linear_and_far_off_the_lemma_fails",),
)
def taylor_expansion() -> Finding:
    def sides(power: int, values: Values) -> tuple[Fraction, Fraction]:
        centre, curve = mean(values), power * (power - 1)
        expansion = centre**power + Fraction(curve, 2) * (centre ** (power - 2) if curve else 0) * variance(values)
        return mean(x**power for x in values), expansion

    populations = (SIGNS, SKEWED, GRID, (Fraction(0), Fraction(0), Fraction(3)))
    within = all(left == right for power, values in product((1, 2), populations) for left, right in [sides(power, values)])
    left, right = sides(3, populations[-1])
    return Finding(
        f"exact for powers 1 and 2 of four populations; x³ over {{0, 0, 3}}: {left} against {right}", left == right, within
    )


@section.claim(
    "before Eq. 6",
    "in CNNs with ReLU “the second derivative of the (pre-loss) output layer w.r.t. the input units is zero almost everywhere”",
    instead="So it is for max-pools and eval-mode batch norm, and not for smooth activations or train-mode batch norm.",
    tests=("tests/validation/gradients/test_objective.py::test_a_smooth_network_takes_double_backward_by_itself",),
)  # fmt: skip
def second_derivative_is_zero() -> Finding:
    def largest(*top: nn.Module, train: bool = False) -> float:
        generator = torch.Generator().manual_seed(0)
        model = nn.Sequential(nn.Conv1d(1, 3, 3), *top, nn.Flatten(), nn.LazyLinear(1)).double()
        model(torch.zeros(2, 1, 8, dtype=torch.float64))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(generator=generator)
        model.train(train)
        found = 0.0
        for _ in range(5):
            x = torch.randn(2, 1, 8, generator=generator, dtype=torch.float64)
            hessian = torch.autograd.functional.hessian(lambda images: model(images).sum(), x)
            found = max(found, float(hessian.abs().max()))
        return found

    relu, pooled = largest(nn.ReLU()), largest(nn.ReLU(), nn.MaxPool1d(2))
    normed, smooth = largest(nn.BatchNorm1d(3), nn.ReLU()), largest(nn.SiLU())
    trained = largest(nn.BatchNorm1d(3), nn.ReLU(), train=True)
    zero = relu == pooled == normed == 0
    return Finding(
        f"largest entry of the Hessian at five inputs: ReLU {relu:.0f}, with max-pool {pooled:.0f}, with eval batch norm "
        f"{normed:.0f}; SiLU {number(smooth)}, train-mode batch norm {number(trained)}",
        printed=zero,
        corrected=zero and min(smooth, trained) > 1e-3,
    )


@section.claim(
    "Eq. 6",
    "hence E[f(x_0, x_1)] ≈ f(x̄_0, x_1)",
    when="f is linear in x_0 over the range of the data",
    instead="“Zero almost everywhere” does not give it: all curvature sits in the kinks, and Taylor's series does not see "
    "them.",
    tests=("tests/validation/studies/test_shuffle.py::test_near_a_point_a_relu_net_is_linear_and_far_off_the_lemma_fails",),
)
def mean_of_f_is_f_of_the_mean() -> Finding:
    left, right = mean(map(abs, SIGNS)), abs(mean(SIGNS))
    within = all(mean(2 * x + 1 for x in values) == 2 * mean(values) + 1 for values in (SIGNS, SKEWED, GRID))
    return Finding(f"smallest: f = |x| = ReLU(x) + ReLU(−x), x = ±1: E[f] = {left}, f(x̄) = {right}", left == right, within)


@section.claim(
    "Eq. 7",
    "I(x_0) ≈ E[(f(x̄_0, x_1) − f(x_0, x_1))²]",
    when="f is linear in x_0 over the range of the data",
    instead="(“Plugging Equation 6 into Equation 7” is a slip for: into Equation 4.) Replacing by the mean is a measure of "
    "its own.",
    tests=("tests/validation/studies/test_shuffle.py::test_for_linear_nets_all_four_are_one_and_the_shuffle_is_twice_that",),
)
def replacing_by_the_mean() -> Finding:
    exact, approximate = eq4(abs, SIGNS), eq7(abs, SIGNS)
    within = all(eq4(f, values) == eq7(f, values) for f in (lambda x: 3 * x - 1,) for values in (SIGNS, SKEWED, GRID))
    return Finding(f"f = |x|, x = ±1: Eq. 4 gives {exact}, Eq. 7 gives {approximate}", exact == approximate, within)


@section.claim(
    "after Eq. 7",
    "E[δ² (∂f/∂x_0)²] ≈ V[x_0] E[(∂f/∂x_0)²], “where we have taken advantage of the fact that E[δ²] = V[x_0]”",
    when="δ² and the squared gradient are uncorrelated: for example where the gradient does not depend on x_0",
    tests=("tests/validation/studies/test_shuffle.py::test_the_linear_value_is_variance_times_squared_weight",),
)
def expectation_of_the_product() -> Finding:
    def slope(x: Fraction) -> Fraction:
        return Fraction(int(x > 0))

    centre = mean(SKEWED)
    left = mean((centre - x) ** 2 * slope(x) ** 2 for x in SKEWED)
    right = proxy(slope, SKEWED)
    within = all(
        mean((mean(values) - x) ** 2 * Fraction(4) for x in values) == proxy(lambda x: Fraction(2), values)
        for values in (SIGNS, SKEWED, GRID)
    )
    return Finding(f"f = ReLU(x), x uniform on {{−1, −1, 2}}: E[δ² f′²] = {left}, V[x] E[f′²] = {right}", left == right, within)


@section.claim(
    "Lemma 1",
    "where “the second derivative of this model is zero almost everywhere”, the root of E[(∂f/∂x)²] scaled by the deviation "
    "of x is “a close proxy” to shuffled importance",
    when="f is linear in the input unit over the range of the data (or the data stay inside one linear piece), the shuffle "
    "then being twice the square of the proxy",
    instead="Twice differentiability and a zero second derivative are not enough: with kinks in range the proxy may be "
    "anything.",
    tests=(
        "tests/validation/studies/test_shuffle.py::test_for_linear_nets_all_four_are_one_and_the_shuffle_is_twice_that",
        "tests/validation/studies/test_study.py::test_the_lemma_holds_on_linear_nets_and_fails_past_the_kinks",
    ),
)
def zero_second_derivative_is_enough() -> Finding:
    def sign(x: Fraction) -> Fraction:
        return Fraction((x > 0) - (x < 0))

    def clamp(x: Fraction) -> Fraction:
        return max(min(x, Fraction(1, 2)), Fraction(-1, 2))

    high, low = proxy(sign, SIGNS), proxy(lambda x: Fraction(0), SIGNS)
    piece = tuple(5 + x for x in GRID)  # all on one side of the kink of |x|
    within = all(
        eq4(f, values) == proxy(lambda x, a=slope: a, values) == shuffle(f, values) / 2
        for f, slope, values in (
            (lambda x: 3 * x, Fraction(3), GRID),
            (lambda x: Fraction(1) - x, Fraction(-1), SKEWED),
            (abs, Fraction(1), piece),
        )
    )
    close = shuffle(abs, SIGNS) == high and shuffle(clamp, SIGNS) == low
    return Finding(
        f"x = ±1. f = |x|: shuffle {shuffle(abs, SIGNS)}, V E[f′²] = {high}. f = x clamped to ±1/2: shuffle "
        f"{shuffle(clamp, SIGNS)}, V E[f′²] = {low}. Linear, and |x| on one side of its kink: equal to Eq. 4, half of the "
        "shuffle",
        printed=close,
        within=within,
    )


@section.claim(
    "after Lemma 1",
    "“We assume the standard deviation of the input units to be approximately identical across input locations”",
    when="images are crops at random places, not framed objects",
    instead="Where it fails, weigh the map with the deviations, as the lemma has them (`predict(..., inputs=)` for given "
    "images).",
    tests=("tests/validation/datasets/test_datasets.py::test_photographs_do_not_share_pixels_between_training_and_test",),
)
def equal_deviations() -> Finding:
    def spread(name: str) -> tuple[float, float]:
        """Standard deviation over positions of the pixels' deviation, by its mean; the share of pixels that hardly vary."""
        data = load(name, size=8 if name == "digits" else 32).train.pixels.numpy()
        deviations = np.sqrt(data.var(axis=0).mean(axis=0))
        return float(deviations.std() / deviations.mean()), float((deviations < 0.01 * deviations.max()).mean())

    (photos, none), (digits, blank) = spread("photos"), spread("digits")
    return Finding(
        f"relative spread of the deviation over the positions: crops of photographs {number(photos)} ({none:.0%} of the "
        f"pixels hardly vary), scikit-learn's digits {number(digits)} ({blank:.0%})",
        printed=digits < 0.2,
        within=photos < 0.2,
    )


@section.claim(
    "section 2",
    "shuffling a unit to see its importance “is disputed by recent works (Hooker & Mentch (2019))”",
    instead="The objection: where inputs depend on each other, a shuffle asks the function where there are no data. It reaches "
    "gradients just as well: functions that are one function on all data have different ones.",
    tests=("tests/validation/studies/test_shuffle.py::test_with_independent_inputs_the_shuffle_is_twice_eq_4_for_any_net",),
)
def objection_of_hooker_and_mentch() -> Finding:
    shares = (Fraction(0), Fraction(1, 2), Fraction(1), Fraction(2))
    shuffles, gradients, on_data = [], [], set()
    for share in shares:  # f = a x_0 + (1 - a) x_1, where x_1 = x_0 in all data

        def f(x: Fraction, y: Fraction, a: Fraction = share) -> Fraction:
            return a * x + (1 - a) * y

        on_data.add(tuple(f(x, x) for x in SIGNS))
        shuffles.append(mean((f(other, x) - f(x, x)) ** 2 for x, other in product(SIGNS, SIGNS)))
        gradients.append(share**2 * variance(SIGNS))
    return Finding(
        f"x_1 = x_0 = ±1, f = a x_0 + (1 − a) x_1 with a = {', '.join(map(str, shares))}: one function on the data; shuffled "
        f"importance of x_0 {', '.join(map(str, shuffles))}, V E[(∂f/∂x_0)²] {', '.join(map(str, gradients))}",
        printed=len(on_data) == 1 and len(set(shuffles)) == len(shares),
        corrected=shuffles == [2 * value for value in gradients] and len(set(gradients)) == len(shares),
    )

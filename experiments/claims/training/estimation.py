"""Section 3.3.3: how the penalty is estimated, how often, and what its gradient costs."""

from fractions import Fraction
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import nn

from experiments.claims.claim import Finding, listed, number
from experiments.claims.means import mean
from experiments.claims.training.regulariser import images, section, small_net
from landscape.maps.measures import importance
from validation.gradients.objective import curvature_penalty, importance_map, laplacian, target_penalty
from validation.training.penalty import Penalty


@section.claim(
    "3.3.3",
    "one sampled class an image, y ~ p(y | X_m), gives I(f)² “on expectation”, “using the central limit theorem”",
    instead="Unbiased for I², exactly (by linearity; that it converges is the law of large numbers).",
    tests=("tests/validation/gradients/test_empirical.py::test_sampled_classes_agree_with_the_exact_sum_in_expectation",),
)
def sampled_classes_are_unbiased() -> Finding:
    p = ((Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)), (Fraction(1, 4), Fraction(1, 4), Fraction(1, 2)))
    squares = (((1, 4), (9, 0), (4, 4)), ((0, 1), (1, 9), (16, 1)))  # image, class, pixel
    exact = [sum(p[m][y] * squares[m][y][i] for m in range(2) for y in range(3)) / 2 for i in range(2)]
    drawn = [
        sum(p[0][a] * p[1][b] * Fraction(squares[0][a][i] + squares[1][b][i], 2) for a, b in product(range(3), repeat=2))
        for i in range(2)
    ]
    return Finding(
        f"two images, three classes, two pixels, all nine draws: {listed(drawn)}, the exact sum {listed(exact)}", exact == drawn
    )


@section.claim(
    "3.3.3",
    "this “allows us to compute the regularisation loss online”",
    when="batches are large, so that the bias is small",
    instead="The penalty is not linear in I²: the mean of batch penalties is not the penalty of the data set's landscape, "
    "though the landscape itself is unbiased.",
    tests=("tests/validation/training/test_loop.py::test_two_processes_reduce_the_map_before_the_penalty",),
)  # fmt: skip
def batch_penalties_are_biased() -> Finding:
    first, second, target = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.float64)

    def penalty(squared: np.ndarray) -> float:
        return float(target_penalty(torch.from_numpy(importance(squared)), target))

    whole, batches = penalty((first + second) / 2), (penalty(first) + penalty(second)) / 2
    random = np.random.default_rng(0)
    maps, flat = random.exponential(size=(4096, 4, 4)) ** 2, torch.ones(4, 4, dtype=torch.float64)
    by_size = []
    for size in (1, 4, 16, 64):
        batch = maps.reshape(-1, size, 4, 4).mean(axis=1)
        by_size.append(float(np.mean([float(target_penalty(torch.from_numpy(importance(one)), flat)) for one in batch])))
    return Finding(
        f"smallest: two pixels, images with I² = (1, 0) and (0, 1), flat target: data set {number(whole)}, mean over batches "
        f"of one {number(batches)}. 4096 random maps whose mean is flat, batches of 1, 4, 16, 64: {listed(by_size)}",
        printed=abs(whole - batches) < 1e-9,
        within=by_size == sorted(by_size, reverse=True) and by_size[-1] < by_size[0] / 10,
    )


@section.claim(
    "3.3.3",
    "computing the gradient of the penalty “necessitates two consecutive backward passes”",
    instead="They suffice; they are not needed. With u = dL/dg held fixed the gradient is that of a directional derivative of "
    "the logits, and for piecewise-linear networks this is one linear forward pass with the gates as masks, and one ordinary "
    "backward pass.",
    tests=("tests/validation/gradients/test_objective.py::test_the_ways_agree_in_float64",),
)
def two_backward_passes() -> Finding:
    model, x = small_net(nn.BatchNorm2d(3)), images(4)
    parameters = list(model.parameters())
    gradients = {}
    for way in ("double_backward", "linearised", "forward_mode"):
        found = importance_map(model, x, generator=torch.Generator().manual_seed(3), way=way)
        parts = torch.autograd.grad(curvature_penalty(found), parameters, allow_unused=True)
        gradients[way] = torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, parts, strict=True)]
        )
    reference = gradients.pop("double_backward")
    apart = max(float((g - reference).norm() / reference.norm()) for g in gradients.values())
    equal = apart < 1e-10 < float(reference.norm())
    return Finding(
        f"gradient over {len(reference)} parameters: linearised, forward mode and double backward agree within 1e-10",
        printed=not equal,
        corrected=equal,
    )


@section.claim(
    "3.3.3",
    "evaluating the loss every T steps with weight α = α_0 T",
    instead="α is the weight as applied, T included: `Penalty` does not multiply it by T again, unless it is given as α_0 "
    '(`reading="alpha_0"`). The mean weight over steps is α_0 for every T.',
    tests=(
        "tests/validation/gradients/test_objective.py::test_the_weight_at_every_t_th_step_is_alpha_after_its_warm_up",
        "tests/validation/gradients/test_objective.py::test_alpha_0_is_multiplied_by_t_so_that_its_mean_over_steps_is_itself",
    ),
)
def every_t_steps() -> Finding:
    def weights(alpha: float, t: int, reading: Literal["alpha", "alpha_0"]) -> list[Fraction]:
        penalty = Penalty("target", alpha=alpha, interval=t, reading=reading)
        return [Fraction(penalty.weight(step)) for step in range(60)]

    means = {t: mean(weights(3.0, t, "alpha_0")) for t in (1, 5, 10)}
    same = all(weights(3.0 * t, t, "alpha") == weights(3.0, t, "alpha_0") for t in means)
    return Finding(
        f"α_0 = 3, mean weight over 60 steps for T = 1, 5, 10: {listed(list(means.values()))}; α = 3 T, step by step the same",
        set(means.values()) == {3} and same,
    )


@section.claim(
    "3.3.3",
    "evaluation mode “makes the second derivative of f equal to zero almost everywhere, thereby reducing the … complexity”",
    when="the second derivative is that with respect to the input",
    instead="The gradient of the penalty is made of the mixed derivative ∂²f/∂θ∂x, which is not zero (nor could it be: the "
    "penalty would have no gradient). In train mode batch norm adds a second derivative by x.",
    tests=(
        "tests/validation/gradients/test_objective.py::test_a_training_forward_after_the_penalty_cannot_change_its_gradient",
    ),
)
def second_derivatives_in_evaluation_mode() -> Finding:
    def largest(train: bool) -> tuple[float, float]:
        model, x = small_net(nn.BatchNorm2d(3)).train(train), images(2).requires_grad_()
        (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x, create_graph=True)
        generator = torch.Generator().manual_seed(5)
        along = (gradient * torch.randn(gradient.shape, generator=generator, dtype=torch.float64)).sum()
        parameters = [p for p in model.parameters() if p.ndim > 1]
        by_x, *by_theta = torch.autograd.grad(along, [x, *parameters], allow_unused=True)
        return float(0 if by_x is None else by_x.abs().max()), max(float(g.abs().max()) for g in by_theta if g is not None)

    (inputs, mixed), (trained, _) = largest(False), largest(True)
    return Finding(
        f"along a random direction, evaluation mode: by x {inputs:.0f}, mixed {number(mixed)}; train mode: by x "
        f"{number(trained)}",
        printed=mixed == 0,
        within=inputs == 0 and trained > 1e-3,
    )


@section.claim(
    "3.3.1",
    "the metric “only involves performing a discrete convolution with kernel k over the importance landscape”",
    instead="k = 3 is the 5-point stencil (0 1 0; 1 −4 1; 0 1 0); the paper does not print its kernel.",
    tests=("tests/validation/gradients/test_objective.py::test_the_laplacian_is_the_five_point_stencil",),
)
def discrete_convolution() -> Finding:
    values = images(1)[0, 0]
    stencil = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    expected = nn.functional.conv2d(values[None, None], stencil[None, None])[0, 0]
    worst = float((laplacian(values) - expected).abs().max())
    spread = abs(float(curvature_penalty(values)) - float(expected.var(correction=0)))
    return Finding(
        "`laplacian` is torch's convolution with that stencil within 1e-12, Eq. 16 its variance", max(worst, spread) < 1e-12
    )

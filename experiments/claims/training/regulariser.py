"""Section 3.3: the landscape of a network, and the penalties on it."""

from itertools import product

import numpy as np
import torch
from torch import nn

from experiments.claims.claim import Finding, Section, listed, number
from experiments.claims.results import gallery
from landscape.maps.numbers import importance, total_variation
from validation.datasets.catalogue import load
from validation.gradients.empirical import channel_importance, empirical_landscape
from validation.gradients.objective import curvature_penalty, smoothness_target, target_penalty
from validation.training.penalty import Objective, Penalty

section = Section("3.3 Correcting for the number of paths", [])


def small_net(*norm: nn.Module, channels: int = 1, size: int = 6) -> nn.Module:
    """conv - (norm) - ReLU - conv - ReLU - dense to three classes, in float64, evaluation mode, from a seed."""
    layers = [nn.Conv2d(channels, 3, 3, padding=1), *norm, nn.ReLU(), nn.Conv2d(3, 3, 3, 2, padding=1), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(3 * (size // 2) ** 2, 3)).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
            parameter *= 0.5
    return model


def images(count: int, channels: int = 1, size: int = 6, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@section.claim(
    "Eq. 13",
    "p(y | X) = softmax(h^(L))",
    instead="The landscape is that of the logits h, not of p.",
    tests=("tests/validation/gradients/test_objective.py::test_classes_are_drawn_from_the_models_own_probabilities",),
)
def softmax() -> Finding:
    h = np.array([0.3, -1.2, 2.5])
    ours = np.exp(h) / np.exp(h).sum()
    theirs = torch.from_numpy(h).softmax(0).numpy()
    return Finding(
        f"h = {listed(h.tolist())}: p = {listed(ours.tolist())}, as torch's", bool(np.allclose(ours, theirs, rtol=1e-12))
    )


@section.claim(
    "I(f)² (unnumbered)",
    "I_i(f)² = E_p(y,X)[(∂h_y/∂x_i)²] = (1/M) Σ_m Σ_y p(y | X_m) (∂h_y/∂x_(i,m))²",
    instead="y is drawn from the network's own p, so that early in training it is not the landscape of the true class.",
    tests=("tests/validation/gradients/test_empirical.py::test_the_exact_sum_is_the_papers_definition",),
)
def landscape_of_a_network() -> Finding:
    model, x = small_net(), images(4)
    found = empirical_landscape(model, [x], classes="all").squared
    expected = torch.zeros(6, 6, dtype=torch.float64)
    for image in x:
        rows = torch.autograd.functional.jacobian(lambda one: model(one)[0], image[None])
        p = model(image[None])[0].softmax(0).detach()
        expected += (p[:, None, None] * rows[:, 0, 0].square()).sum(0) / len(x)
    worst = float(np.abs(found / expected.numpy() - 1).max())
    return Finding(
        "`empirical_landscape` and the written-out sum agree within 1e-10 over 4 images and 3 classes", worst < 1e-10
    )


@section.claim(
    "Eq. 14",
    "I′ = √(d_w d_h) ‖I²‖_channels / ‖I²‖_F: a normalised map over positions",
    instead="Its mean SQUARE is one, whatever the channels.",
    tests=("tests/landscape/maps/test_measures.py::test_equation_14_has_mean_square_one_and_mean_at_most_one",),
)
def eq_14_has_mean_square_one() -> Finding:
    random = np.random.default_rng(0)
    found = [channel_importance(random.exponential(size=(c, 4, 5))) for c in (1, 2, 3)]
    worst = max(abs(float((one**2).mean()) - 1) for one in found)
    return Finding(f"mean squares of {len(found)} random maps are 1 within 1e-12", worst < 1e-12)


@section.claim(
    "after Eq. 14",
    "“It can easily be checked that the landscape operator I′(f) is one on expectation”",
    misprint=True,
    instead="Its square is; its own mean is at most one (Jensen), with equality only for a flat map.",
    tests=("tests/landscape/maps/test_measures.py::test_equation_14_has_mean_square_one_and_mean_at_most_one",),
)
def mean_of_eq_14() -> Finding:
    pair = importance(np.array([[0.0, 1.0]]))
    random = np.random.default_rng(0)
    means = [float(importance(random.exponential(size=(4, 5))).mean()) for _ in range(100)]
    flat = float(importance(np.ones((4, 5))).mean())
    return Finding(
        f"smallest: two pixels, I² = (0, 1): I′ = {listed(pair.ravel().tolist())}, mean {number(float(pair.mean()))}; 100 "
        f"random maps: means {number(min(means))} to {number(max(means))}; a flat map: {number(flat)}",
        printed=abs(float(pair.mean()) - 1) < 1e-9,
        corrected=max(means) < 1 and abs(flat - 1) < 1e-12,
    )


@section.claim(
    "after Eq. 14",
    "“… is one on expectation for every image”, if it means Eq. 14 image by image, then averaged",
    when="all images have the same map",
    instead="I′ is not linear: the mean of maps is another quantity than the map of the mean, which theory and Eq. 14 speak "
    "of. Both are offered, under two names (`map_of_means`, `mean_of_maps`).",
    tests=("tests/validation/gradients/test_empirical.py::test_eq_14_of_the_mean_and_the_mean_of_eq_14_differ",),
)
def mean_of_maps() -> Finding:
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    of_mean = importance((first + second) / 2)
    mean_of = (importance(first) + importance(second)) / 2
    unequal = importance((first + 3 * second) / 2)  # one image with larger gradients moves one map and not the other
    return Finding(
        f"smallest: two pixels, two images, I² = (1, 0) and (0, 1): map of the mean {listed(of_mean.tolist())}, mean of the "
        f"maps {listed(mean_of.tolist())}; the second image's gradients √3 times as large: {listed(unequal.tolist())}, "
        "unchanged",
        printed=bool(np.allclose(of_mean, mean_of)),
        within=bool(np.allclose(importance((first + 3 * first) / 2), (importance(first) + importance(3 * first)) / 2)),
        corrected=not np.allclose(of_mean, unequal),
    )


@section.claim(
    "Eq. 15",
    "θ* = arg min (1/M) Σ_m CrossEntropy + α L(I′(f_θ))",
    instead="Eq. 16 is printed as a mean over pixels and Eq. 17 as a sum, on 32 × 32 pixels a factor of 1024. One set of "
    "weights for 32 × 32 and for 224 × 224 pixels fits means only, and so do the gradients at initialisation; the presets "
    "take the mean.",
    tests=("tests/validation/gradients/test_objective.py::test_the_objective_is_cross_entropy_plus_the_weighted_penalty",),
)
def objective() -> Finding:
    model, x, labels = small_net(), images(5), torch.tensor([0, 1, 2, 0, 1])
    uniforms = torch.rand(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    total, _, penalty, _ = Objective(model, Penalty("curvature"))(x, labels, uniforms, 0.5)
    logits = model(x).detach().float()
    entropy = (logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()
    difference = abs(float(total.detach()) - float(entropy) - 0.5 * float(penalty))
    ratios = [
        round(float(target_penalty(one, one * 0)) / float(target_penalty(one, one * 0, reduction="mean")))
        for one in [torch.rand(32, 32)]
    ]
    return Finding("loss = cross-entropy written out + α × penalty, within 1e-6", difference < 1e-6, corrected=ratios == [1024])


@section.claim(
    "3.3.1",
    "the energy σ̂²[Δ_k I′] “is a real positive value indicating how sharp that landscape is”",
    when="“positive” is read as not negative, and flatness as a constant Laplacian inside the border",
    instead="It is zero for every map whose Laplacian is constant: ramps, paraboloids, saddles.",
    tests=("tests/validation/gradients/test_objective.py::test_a_laplacian_of_any_width_is_exact_on_quadratics",),
)
def energy_is_positive() -> Finding:
    generator = torch.Generator().manual_seed(0)
    energies = [float(curvature_penalty(torch.rand(5, 6, generator=generator, dtype=torch.float64))) for _ in range(50)]
    corner = torch.zeros(3, 3, dtype=torch.float64)
    corner[1, 1] = 3.0  # all of the landscape in one pixel
    row = torch.arange(8, dtype=torch.float64)
    bowl = (row[:, None] - 3.5) ** 2 + (row[None] - 3.5) ** 2
    shaped = bowl / bowl.square().mean().sqrt()
    found = float(curvature_penalty(corner)), float(curvature_penalty(shaped))
    return Finding(
        f"smallest: 3 × 3 pixels, everything in the middle one: {number(found[0])} (there is one Laplacian, so no variance). "
        f"A bowl over 8 × 8, total variation {number(total_variation(bowl.numpy()))}: {abs(found[1]):.0f}. 50 random maps: "
        f"{number(min(energies))} and more",
        printed=found[0] > 0 and found[1] > 1e-12,
        within=min(energies) > 0,
    )


@section.claim(
    "3.3.1, Eq. 16",
    "minimising σ̂²[Δ_k I′] means to “directly minimise the curvature of this landscape”",
    when="the Laplacian sees the border (replicated: `border`)",
    instead="As printed it is not padded: it never sees the four corner pixels and sees the rest of the border through one "
    "neighbour each. A landscape in one corner costs nothing, and with a large α networks end there (docs/laptop.md).",
    tests=(
        "tests/validation/gradients/test_objective.py::test_the_printed_curvature_penalty_sees_no_corner_and_hardly_a_border",
    ),
)
def laplacian_sees_no_corners() -> Finding:
    def energy(place: tuple[int, int], size: int, pad: int = 0) -> float:
        one = torch.zeros(size, size, dtype=torch.float64)
        one[place] = size  # mean square one
        if pad:
            one = nn.functional.pad(one[None, None], (pad,) * 4, mode="replicate")[0, 0]
        return float(curvature_penalty(one))

    size = next(size for size in range(3, 9) if energy((1, 1), size) > 0 == energy((0, 0), size))
    corner, edge, middle = (energy(place, 16) for place in ((0, 0), (0, 8), (8, 8)))
    padded = energy((0, 0), 16, 1)
    flat = float(curvature_penalty(torch.ones(16, 16)))
    return Finding(
        f"all of I′ in one pixel, 16 × 16: corner {number(corner)}, edge {number(edge)}, middle {number(middle)}, flat "
        f"{number(flat)}; corner with a replicated border {number(padded)}. Smallest map where an inner pixel costs and a "
        f"corner does not: {size} × {size}",
        printed=corner > flat,
        within=min(energy((row, column), 5, 1) for row in range(5) for column in range(5)) > flat,
        corrected=padded > edge > corner,
    )


@section.claim(
    "Ŝ (before Eq. 17)",
    "Ŝ is “a measure of ‘smoothness’ of each pixel location”",
    misprint=True,
    instead="Of roughness: it is large where the images have edges and detail, and small where they are smooth. That is what "
    "the penalty needs (importance where there is content); only the name is turned. (The indices i, j and i_w, i_h are the "
    "same.)",
    tests=("tests/validation/gradients/test_objective.py::test_the_target_is_the_mean_normalised_laplacian_in_any_batches",),
)  # fmt: skip
def target_measures_roughness() -> Finding:
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    image[..., 4:] = 1.0  # an edge down the middle
    row = smoothness_target(image)[4]
    return Finding(
        f"an image with an edge between columns 3 and 4: Ŝ along a row is {listed(row.tolist())}",
        printed=float(row[0]) > float(row[3]),
        corrected=float(row[3]) > float(row[0]),
    )


@section.claim(
    "Ŝ (before Eq. 17)",
    "Ŝ “is analogous to the 2D-feature importance landscape of Eq 14”",
    when="all images have the same Laplacian map",
    instead="Ŝ is a mean of maps, so that its mean square is at most one, while that of I′ is exactly one: the penalty of Eq. "
    "17 cannot be zero, its least value is d_w d_h (1 − rms Ŝ)², reached at Ŝ scaled to mean square one.",
    tests=("tests/validation/gradients/test_objective.py::test_the_target_is_the_mean_normalised_laplacian_in_any_batches",),
)  # fmt: skip
def target_is_no_landscape() -> Finding:
    def least(target: torch.Tensor) -> tuple[float, float]:
        size = float(target.square().mean().sqrt())
        return size, target.numel() * (1 - size) ** 2

    digits = load("digits", size=8).train.batch(torch.arange(500))
    target = smoothness_target(digits)
    size, bound = least(target)
    generator = torch.Generator().manual_seed(0)
    others = [torch.rand(8, 8, generator=generator, dtype=torch.float64) for _ in range(200)]
    reached = float(target_penalty(target / size, target))
    above = min(float(target_penalty(one / one.square().mean().sqrt(), target)) for one in others)
    alone, _ = least(smoothness_target(digits[:1]))
    return Finding(
        f"500 of scikit-learn's digits: mean square of Ŝ {number(size**2)}, least value of Eq. 17 {number(bound)}, reached "
        f"{number(reached)}; one image: mean square {number(alone**2)}",
        printed=abs(size - 1) < 1e-6,
        within=abs(alone - 1) < 1e-9,
        corrected=abs(reached / bound - 1) < 1e-9 and above > bound,
    )


@section.claim(
    "Eq. 17",
    "cross-entropy + α ‖I′(f_θ) − Ŝ(X)‖²",
    tests=("tests/validation/gradients/test_objective.py::test_both_penalties_pass_gradcheck_and_gradgradcheck",),
)
def target_objective() -> Finding:
    generator = torch.Generator().manual_seed(0)
    one, target = (torch.rand(4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    written = sum((float(one[i, k]) - float(target[i, k])) ** 2 for i, k in product(range(4), range(5)))
    return Finding(
        "`target_penalty` is the written-out sum within 1e-12", abs(float(target_penalty(one, target)) - written) < 1e-12
    )


@section.claim(
    "introduction, on ¶_t",
    "Eq. 17 works by “indirectly minimizing the curvature of the importance landscape in a data-driven manner”",
    when="Ŝ is flatter than the landscape of the network",
    instead="It casts to whatever Ŝ is: nearly flat for crops of photographs, and not for framed objects.",
    tests=("tests/validation/gradients/test_objective.py::test_stationary_images_have_a_flat_target",),
)
def target_is_flat() -> Finding:
    def variation(name: str, size: int) -> float:
        train = load(name, size=size).train
        return total_variation(smoothness_target(train.batch(torch.arange(min(len(train), 1000)))).numpy())

    photos, digits = variation("photos", 32), variation("digits", 8)
    resnet, vgg = gallery()["resnet18"].variation, gallery()["vgg11"].variation
    return Finding(
        f"total variation of Ŝ: crops of photographs {number(photos)}, scikit-learn's digits {number(digits)}; of untrained "
        f"landscapes (docs/gallery.md): ResNet-18 {number(resnet)}, VGG-11 {number(vgg)}",
        printed=digits < vgg,
        within=photos < vgg < resnet,
    )

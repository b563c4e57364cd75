"""Section 3.2: what Proposition 1 says of real networks: batch norm, skips, strides, pools."""

from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from experiments.claims.claim import Finding, listed, number
from experiments.claims.importance.proposition import section
from experiments.claims.means import (
    POOLED,
    chain,
    listed_counts,
    near,
    outputs,
    path_sum,
    relative_error,
    sign_patterns,
    squares,
    train_mode_gradient,
    truth,
)
from landscape import he, predict
from lattice import (
    SKIP,
    Add,
    Conv,
    Dense,
    Flatten,
    Input,
    Lattice,
    Node,
    Pool,
    commands,
    families,
    path_counts,
    residual,
    route,
)
from validation import enumerated_squared_gradients


@section.claim(
    "before Eq. 12",
    "“similarly to what can be seen in VGG architectures”: their squared importance is proportional to the number of paths",
    instead="Up to max-pools, whose winners depend on the data; taken as equally likely they are one more constant factor.",
    tests=("tests/landscape/tracing/test_trace.py::test_torchvision_resnets_and_vggs_trace",),
)
def vgg_is_proportional() -> Finding:
    net = families.vgg((3, 32, 32), classes=10)
    counts = path_counts(net).astype(float)
    predicted = predict(net, gates="theory").squared
    spread = relative_error(predicted, counts)
    return Finding(
        f"VGG-11 over 32 × 32 pixels: the prediction, all gates and pools included, and the counts differ by {spread:.1%} in "
        "shape. Measured over 300 draws at 64 pixels, torchvision's vgg11 agrees with the prediction (docs/gallery.md)",
        printed=spread < 0.05,
    )


@section.claim(
    "after Eq. 12",
    "test-time batch norm leaves Eq. 11 valid “up to a multiplicative constant”",
    when="all paths cross the same norms, as in a chain",
    instead="In a residual network the factor γ²/σ² sits on the branch and not on the skip, so it changes the shape of the "
    "map.",
    tests=("tests/landscape/laws/test_batchnorm.py::test_a_torch_model_in_train_mode_ignores_its_running_statistics",),
)
def batch_norm_is_a_constant() -> Finding:
    def block(factor: float, skip: bool) -> np.ndarray:
        def outputs_of(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            branch = functional.conv1d(x, w.reshape(1, 1, 3), padding=1)
            return factor * branch + (x if skip else 0)

        return squares(outputs_of, sign_patterns(3), np.ones((1, 1, 3))) * 3  # times Z, for whole numbers

    plain, scaled = block(1, True), block(2, True)
    chains = block(1, False), block(2, False)
    return Finding(
        f"smallest: one block, three cells, K = 3, V = 1, Z times the map: γ/σ = 1 gives {listed(plain.tolist())}, γ/σ = 2 "
        f"gives {listed(scaled.tolist())}. Without the skip: {listed(chains[0].tolist())} and {listed(chains[1].tolist())}",
        printed=relative_error(plain, scaled) < 1e-9,
        within=relative_error(*chains) < 1e-9,
    )


@section.claim(
    "after Eq. 12",
    "“During training however, the variance of the partial derivatives … are not independent of h_i anymore”",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_corrected_lemma_holds_at_a_batch_of_16",),
)
def train_mode_depends_on_the_input() -> Finding:
    ratio = train_mode_gradient(inputs=2) / train_mode_gradient()
    return Finding(f"twice the input, the squared gradient times {ratio:.4f}", abs(ratio - 0.25) < 1e-9)


@section.claim(
    "after Eq. 12",
    "in train mode the landscape depends on the topology and the variance of the input, “and not upon the weight variance "
    "anymore”",
    when="the weights meant are those of layers below a batch norm",
    instead="The head has no norm above it, so that its variance remains a factor (of the scale, not of the shape).",
    tests=("tests/landscape/laws/test_batchnorm.py::test_the_variance_of_the_weights_cancels",),
)
def train_mode_forgets_the_weights() -> Finding:
    ratio = train_mode_gradient(weights=(7, 7)) / train_mode_gradient()
    head = [
        float(predict(chain(4, [Conv(4, 3, padding=1), Flatten(), Dense(2)]), mode="train", initialisation=v).squared.mean())
        for v in ({"conv1": 1.0, "dense1": 1.0}, {"conv1": 1.0, "dense1": 9.0})
    ]
    return Finding(
        f"weights below the norm times 7: squared gradient times {ratio:.4f}; weights of the head times 3: times "
        f"{number(head[1] / head[0])}",
        printed=abs(head[1] / head[0] - 1) < 1e-6,
        within=abs(ratio - 1) < 1e-9,
    )


def _added(blocks: int, size: int, mode: str = "zeros") -> list[int]:
    """Paths through at least one skip, by listing, summed over outputs."""
    net = Lattice.chain((1, size), [residual([Conv(1, 3, padding=1, mode=mode)])] * blocks)
    counts = [0] * size
    for top in outputs(net):
        for vector in commands(net, top):
            if SKIP in vector:
                counts[route(net, vector, top).position[0]] += 1
    return counts


@section.claim(
    "end of 3.2",
    "“the effect of residual connections is simply to add a constant number of identical sub-paths …, regardless of which "
    "unit location is being considered”",
    when="there is one block, or the padding is circular",
    instead="Two padded blocks add 2A + 1 to A², A the map of one layer: fewer paths at the border, like the layers "
    "themselves. And skip paths cross fewer layers, so that they are not identical to the others in variance.",
    tests=(
        "tests/lattice/test_theorems.py::test_skips_add_more_paths_in_the_middle",
        "tests/lattice/test_theorems.py::test_skips_do_not_add_a_constant_number_of_paths",
    ),
)
def skips_add_a_constant() -> Finding:
    tried = {(blocks, size): _added(blocks, size) for blocks, size in product((1, 2, 3), (1, 2, 3, 4))}
    blocks, size = next(pair for pair in sorted(tried, key=lambda p: (p[0] * p[1], p)) if len(set(tried[pair])) > 1)
    one = all(len(set(tried[1, size])) == 1 for size in (1, 2, 3, 4))
    circle = _added(2, 4, "circular")
    return Finding(
        f"smallest: {blocks} blocks, {size} cells, K = 3: skips add {listed(tried[blocks, size])}; one block adds "
        f"{listed(tried[1, 3])}; two circular blocks over 4 cells add {listed(circle)}",
        printed=all(len(set(added)) == 1 for added in tried.values()),
        within=one and len(set(circle)) == 1,
    )


@section.claim(
    "end of 3.2; Eq. 12 in ResNets",
    "with residual connections the squared saliency is still “monotonically and linearly conditioned on the number of "
    "output-to-input paths”",
    instead="Eq. 8 holds, Eq. 12 does not: each path has its own product of variances. One block is affine in the number of "
    "paths and not proportional; in a downsampling block even the order turns.",
    tests=("tests/lattice/test_theorems.py::test_importance_of_a_residual_net_is_not_proportional_to_path_counts",),
)
def saliency_follows_the_number_of_paths() -> Finding:
    block = Lattice.chain((1, 3), [residual([Conv(1, 3, padding=1)])])
    counts, half = listed_counts(block), enumerated_squared_gradients(block, None, 0.5) * 3
    down = {
        size: Lattice.chain((1, size), [residual([Conv(1, 3, 2, padding=1), Conv(1, 3, padding=1)], [Conv(1, 1, 2)])])
        for size in range(2, 6)
    }
    size, i, k = next(
        (size, i, k)
        for size, net in down.items()
        for i, k in product(range(size), repeat=2)
        if listed_counts(net)[i] > listed_counts(net)[k]
        and enumerated_squared_gradients(net, None, he)[i] < 0.99 * enumerated_squared_gradients(net, None, he)[k]
    )
    turned = enumerated_squared_gradients(down[size], None, he) * len(outputs(down[size]))
    proportional = near(half / half.mean(), np.array(counts) / np.mean(counts))
    resnet = families.resnet((3, 32, 32), width=8, classes=10)
    error = relative_error(predict(resnet, gates="theory").squared, path_counts(resnet).astype(float))
    return Finding(
        f"one block, three cells, K = 3, V = 1/2: {listed(counts)} paths, importance {listed(half.tolist())}. A downsampling "
        f"block (3 × 3 stride 2, 3 × 3, beside a 1 × 1 of stride 2) over {size} cells with He's variances: "
        f"{listed(listed_counts(down[size]))} paths, importance {listed(turned.tolist())}: cell {i} has more paths than cell "
        f"{k}, and less importance. A ResNet-18 of width 8 at 32 × 32 pixels: counts and prediction differ by {error:.0%} of "
        "the mean",
        printed=proportional,
        corrected=near(half, [1 + 2 * 0.5, 1 + 3 * 0.5, 1 + 2 * 0.5]) and turned[i] < turned[k],
    )


@section.claim(
    "end of 3.2",
    "residual connections that downsample with a stride above one “modify the number of paths for a subset of locations and "
    "not for another”",
    tests=("tests/lattice/test_theorems.py::test_the_interior_is_flat_iff_the_stride_divides_the_kernel",),
)
def strided_skips_pick_locations() -> Finding:
    size = 6
    body = [Conv(1, 3, 2, padding=1)]
    both, alone = Lattice.chain((1, size), [residual(body, [Conv(1, 1, 2)])]), Lattice.chain((1, size), body)
    added = [one - other for one, other in zip(listed_counts(both), listed_counts(alone), strict=True)]
    return Finding(f"a 1 × 1 shortcut of stride 2 over 6 cells adds {listed(added)}", set(added) == {0, 1})


@section.claim(
    "beyond the letter of Prop. 1",
    "the path sum for networks with pooling layers (which the networks of section 4 have, and the text does not mention)",
    when="averages do not overlap one another, no padding copies cells below them, and branches meet through fresh weights",
    instead="Where two paths carry the same weights they add before squaring: pilcro's covariance law is exact there.",
    tests=("tests/landscape/test_exactness.py::test_where_single_paths_are_not_enough_the_general_law_is_exact",),
)
def pools_and_copies() -> Finding:
    def twice(size: int) -> Lattice:
        nodes = (Node("input", Input((1, size))), Node("conv", Conv(1, 1), (0,)), Node("twice", Add(), (1, 1)))
        return Lattice(nodes)

    def smallest(make: Any) -> tuple[int, list[float], list[float]]:
        for size in range(1, 8):
            net = make(size)
            if net is not None and not near(truth(net), path_sum(net)):
                return size, path_sum(net), truth(net).tolist()
        raise AssertionError

    cases = {
        "h + h, K = 1": twice,
        "two average pools of 2, stride 1, a K = 1 layer between": lambda n: chain(
            n, [Pool("avg", 2, 1), Conv(1, 1), Pool("avg", 2, 1)]
        ),
        "replicate padding, K = 3, under a pooled head": lambda n: chain(n, [Conv(1, 3, padding=1, mode="replicate"), *POOLED]),
        "reflect padding, the same": lambda n: chain(n, [Conv(1, 3, padding=1, mode="reflect"), *POOLED]) if n > 1 else None,
    }
    found = {name: smallest(make) for name, make in cases.items()}
    exact = all(near(predict(make(found[name][0]), initialisation=1.0).squared, found[name][2]) for name, make in cases.items())
    apart = [chain(8, [Conv(1, 2), Pool("avg", 2), Conv(1, 2), *POOLED]), chain(6, [Pool("avg", 3), Conv(1, 1), *POOLED])]
    within = all(near(truth(net), path_sum(net)) for net in apart if net)
    text = "; ".join(f"{name}, N = {size}: {listed(true)} against {listed(sums)}" for name, (size, sums, true) in found.items())
    printed = all(near(true, sums) for _, sums, true in found.values())
    return Finding(f"smallest exceptions, truth against path sum: {text}", printed, within, exact)

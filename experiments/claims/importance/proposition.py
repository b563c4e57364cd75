"""Section 3.2: Proposition 1, and what is said to follow from it."""

from itertools import permutations, product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from experiments.claims.claim import Finding, Section, listed, number
from experiments.claims.means import (
    POOLED,
    chain,
    jacobian,
    listed_counts,
    mean,
    near,
    outputs,
    path_sum,
    same,
    sign_patterns,
    squares,
    truth,
)
from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Lattice,
    Pool,
    commands,
    residual,
    route,
)
from validation.montecarlo.build import build

section = Section("3.2 Feature relevance: Proposition 1 and its consequences", [])

RELU = Activation("relu")
LINEAR = [
    net
    for kernel, stride, padding, dilation, mode in product((1, 2, 3), (1, 2), (0, 1), (1, 2), ("zeros", "circular"))
    if (net := chain(5, [Conv(1, kernel, stride, padding, dilation, mode=mode), Conv(1, 2)])) is not None
]


@section.claim(
    "Prop. 1, Eq. 8",
    "in a network of stacked convolutional layers E_j,W[(∂h_j/∂h_i)²] = (1/Z) Σ_j Σ_paths Π V[w]",
    instead="Exact at any width, for any stride, padding, dilation and kernel; and for identity and projection skips, pools "
    "that do not overlap, flatten and pooled heads of linear networks. (Slip: l is both the outer layer and the index of the "
    "product.)",
    tests=("tests/landscape/test_exactness.py::test_nothing_is_called_exact_that_enumeration_can_refute",),
)
def linear_stacks() -> Finding:
    right = sum(near(truth(net), path_sum(net)) for net in LINEAR)
    skips = [Lattice.chain((1, 4), [residual([Conv(1, 3, padding=1)])] * depth) for depth in (1, 2)]
    heads = [
        Lattice.chain((1, 6), [Conv(1, 3, padding=1), *head]) for head in (POOLED, [Pool("avg", 2)], [Flatten(), Dense(1)])
    ]
    more = all(near(truth(net), path_sum(net)) for net in (*skips, *heads))
    return Finding(f"{right} of {len(LINEAR)} linear stacks equal every ±1 pattern", right == len(LINEAR), corrected=more)


@section.claim(
    "Prop. 1",
    "“under mild assumption about network initialisation”",
    when="the weights have mean zero, are uncorrelated, and no layer is used twice",
    instead="Independence is not needed: orthogonal weights qualify. A mean m adds m² per path and cross terms; tied weights "
    "make paths share their products.",
    tests=("tests/landscape/tracing/test_trace.py::test_what_would_give_a_plausible_wrong_map_is_refused",),
)
def mild_assumptions() -> Finding:
    shifted = mean(w**2 for w in (0, 2))  # one weight of mean 1 and variance 1
    tied = squares(
        lambda w, x: functional.conv1d(functional.conv1d(x, w.reshape(1, 1, 2)), w.reshape(1, 1, 2)),
        sign_patterns(2),
        np.ones((1, 1, 3)),
    )
    counts = path_sum(chain(3, [Conv(1, 2)] * 2))
    signed = [np.diag(s) @ np.eye(2)[list(p)] for s in product((1, -1), repeat=2) for p in permutations(range(2))]
    stack = torch.tensor(np.array(signed))  # all signed permutations: orthogonal, so dependent, and uncorrelated with V = 1/2
    orthogonal = squares(lambda w, x: w @ x, stack, np.ones(2))
    within = near(orthogonal, [0.5, 0.5]) and near(truth(chain(3, [Conv(1, 2)] * 2)), counts)
    return Finding(
        f"one weight, 0 or 2 (mean 1, V = 1): E[w²] = {shifted}, V = 1. One K = 2 layer used twice, 3 cells: "
        f"{listed(tied.tolist())}, path sum {listed(counts)}. All orthogonal signed 2 × 2 permutations: "
        f"{listed(orthogonal.tolist())} = V",
        printed=shifted == 1,
        within=within,
    )


@section.claim(
    "Eq. 9",
    "∂h_j/∂h_i = Σ over paths of Π of the weights along the path (chain rule)",
    instead="With gates each path carries their slopes as factors too.",
    tests=("tests/lattice/test_against_torch.py::test_the_summed_jacobian_is_the_map_of_all_outputs",),
)
def chain_rule() -> Finding:
    nets = [*LINEAR[::6], Lattice.chain((2, 4), [Conv(2, 2), Conv(2, 2)]), *(same(4, 2, kernel) for kernel in (1, 3))]
    worst, tried = 0.0, 0
    for net in nets:
        network = build(net, 1.0, generator=torch.Generator().manual_seed(1)).double()
        weights = [weight.detach() for weight in network.weights().values()]
        channels, size = net.input_shape
        rows = jacobian(network, torch.zeros(1, channels, size, dtype=torch.float64))
        found = rows.reshape(*net.output_shape, channels, size)
        for top in outputs(net):
            expected = torch.zeros(channels, size, dtype=torch.float64)
            for vector in commands(net, top):
                channel, weight_product = top.channel, 1.0
                for weight, command in zip(reversed(weights), reversed(vector), strict=True):
                    weight_product *= float(weight[channel, command.channel, command.taps[0]])
                    channel = command.channel
                unit = route(net, vector, top)
                expected[unit.channel, unit.position[0]] += weight_product
            worst = max(worst, float((found[top.channel, top.position[0]] - expected).abs().max()))
            tried += 1
    return Finding(f"the listed sum is torch's gradient within 1e-12 for {tried} units of {len(nets)} nets", worst < 1e-12)


@section.claim(
    "before Eq. 10",
    "“under most initialisation methods, including Glorot … and He …, the weights of the network are zero on expectation”",
    instead="Not so for batch norms' scales (1), which cross every path through them alike, nor for trained weights.",
    tests=("tests/validation/montecarlo/test_build.py::test_weights_have_the_variance_that_was_asked_for",),
)
def weights_have_mean_zero() -> Finding:
    schemes = ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "trunc_normal_")
    generator, largest = torch.Generator().manual_seed(0), 0.0
    for scheme in schemes:
        weight = torch.empty(256, 300)
        getattr(torch.nn.init, scheme)(weight, generator=generator)
        largest = max(largest, abs(float(weight.mean() / weight.std())) * weight.numel() ** 0.5)
    return Finding(
        f"{len(schemes)} of torch's initialisations, 76,800 weights each: largest mean {largest:.1f} standard errors",
        largest < 4.5,
    )


@section.claim(
    "Eq. 10",
    "E[W_i W_j] = 0 for two independent draws if E[W_i] = 0",
    instead="For i ≠ j; i = j leaves V. Uncorrelated is enough.",
    tests=("tests/landscape/test_exactness.py::test_linear_residual_nets_are_exact_under_any_head",),
)
def independent_products() -> Finding:
    values = (-2, -1, 3)  # mean zero, skewed
    apart, alike = mean(a * b for a, b in product(values, values)), mean(a * a for a in values)
    return Finding(f"w uniform on {{−2, −1, 3}}: E[w w′] = {apart}, E[w²] = {alike}", apart == 0)


@section.claim(
    "Eq. 11",
    "E_j,W[(∂h_j/∂h_i)²] = Σ over paths of Π E[w²], without a mean over j on the right",
    misprint=True,
    instead="(1/Z) Σ_j stands before it, as in Eq. 8.",
    tests=("tests/landscape/test_exactness.py::test_nothing_is_called_exact_that_enumeration_can_refute",),
)
def eq_11_loses_the_mean() -> Finding:
    net = chain(2, [Conv(1, 1)])
    left, printed = truth(net), listed_counts(net, (0,))
    return Finding(
        f"smallest: two cells, K = 1, V = 1: left side {listed(left.tolist())}; right side for j = 0: {listed(printed)}",
        printed=near(left, printed),
        corrected=near(left, path_sum(net)),
    )


@section.claim(
    "after Eq. 11",
    "“the expected unit importance is independent of the input unit value distribution”",
    when="the network is linear, or every gate is a ReLU of a plain convolution and the head flattens",
    instead="Under a global average, gates at different positions share a filter and their product depends on the data; so it "
    "does after residual sums, max-pools and in train-mode batch norm (`Landscape.reasons` names the layer; `predict(..., "
    "inputs=)` takes the data).",
    tests=(
        "tests/landscape/test_exactness.py::test_relu_chains_under_a_flatten_head_are_exact_at_any_width",
        "tests/landscape/test_exactness.py::test_where_no_law_is_exact_the_prediction_says_so",
    ),
)
def independent_of_the_data() -> Finding:
    def moves(net: Lattice) -> bool:
        return any(not near(truth(net, x), truth(net, images[0])) for images in [given(net)] for x in images)

    def given(net: Lattice) -> list[np.ndarray]:
        cells = net.input_shape[1]
        rows = [2.0, 1.0, 3.2, 1.5, 2.7], [1.0, 2.0, 4.0, 8.0, 16.0]  # which input of a window is the larger one, differs
        return [np.array(row[:cells]).reshape(1, 1, cells) for row in rows]

    def pooled(cells: int, kernel: int) -> Lattice | None:
        return chain(cells, [Conv(1, kernel), RELU, *POOLED])

    cells, kernel, net = next(
        (cells, kernel, net)
        for cells, kernel in sorted(product(range(1, 5), range(1, 4)))
        if (net := pooled(cells, kernel)) is not None and moves(net)
    )
    first, second = (truth(net, x) for x in given(net))
    flat = [
        chain(5, layers)
        for layers in (
            [Conv(1, 2), RELU, Conv(1, 2), RELU, Flatten(), Dense(1)],
            [Conv(2, 2, padding=1), RELU, Flatten()],
            [Conv(1, 3, 2), Conv(1, 2), Flatten()],
        )
    ]
    within = all(not moves(net) for net in flat if net) and all(not moves(net) for net in LINEAR[::5])
    return Finding(
        f"smallest exception, conv–ReLU–average–dense: N = {cells}, K = {kernel}, C = 1, every ±1 pattern: x = "
        f"{listed(given(net)[0].ravel())} gives {listed(first.tolist())}, x = {listed(given(net)[1].ravel())} gives "
        f"{listed(second.tolist())}, the path sum with 1/2 a gate "
        f"{listed([value / 2 for value in path_sum(chain(cells, [Conv(1, kernel), *POOLED]))])}",
        printed=near(first, second),
        within=within,
    )


@section.claim(
    "after Eq. 11",
    "the expected unit importance is independent “of the convolutional layer biases if present”",
    when="the network is linear, or the biases are zero or themselves drawn symmetric about zero",
    instead="A fixed bias opens or closes gates; with zero or symmetric biases a flip of all signs of a filter flips its gate.",
    tests=("tests/landscape/test_exactness.py::test_relu_chains_under_a_flatten_head_are_exact_at_any_width",),
)
def independent_of_biases() -> Finding:
    def square(gate: Any, biases: tuple[float, ...]) -> float:
        patterns = torch.tensor(list(product([1.0, -1.0], biases)), dtype=torch.float64)
        return float(squares(lambda w, x: gate(w[0] * x + w[1]), patterns, np.ones(1))[0])

    plain, fixed, drawn = (square(functional.relu, biases) for biases in ((0.0,), (2.0,), (2.0, -2.0)))
    linear = [square(lambda a: a, biases) for biases in ((0.0,), (2.0,))]
    return Finding(
        f"smallest: h = ReLU(wx + b), x = 1, w = ±1: b = 0 gives {number(plain)}, b = 2 gives {number(fixed)}, b = ±2 gives "
        f"{number(drawn)}; without the ReLU {listed(linear)}",
        printed=plain == fixed,
        within=plain == drawn and linear[0] == linear[1],
    )


@section.claim(
    "Eq. 12",
    "if all paths cross the same layers, E[(∂h_j/∂h_i)²] = (1/Z) Π V × #p̄",
    misprint=True,
    instead="Without 1/Z: #p̄ = (1/Z) Σ_j #p_j contains it. Then right for every stack (a factor 1/2 a gate under a flatten "
    "head).",
    tests=("tests/landscape/test_exactness.py::test_relu_chains_under_a_flatten_head_are_exact_at_any_width",),
)
def eq_12_divides_twice() -> Finding:
    def right_side(net: Lattice, twice: bool) -> list[float]:
        units = len(outputs(net))
        return [count / units / (units if twice else 1) for count in listed_counts(net)]

    net = chain(2, [Conv(1, 1)])
    gated = chain(4, [Conv(1, 2), RELU, Conv(1, 2), RELU, Flatten(), Dense(1)])
    corrected = all(near(truth(net), right_side(net, False)) for net in LINEAR)
    corrected = corrected and near(truth(gated), [count / 4 for count in right_side(gated, False)])
    return Finding(
        f"smallest: two cells, K = 1, V = 1: {listed(truth(net).tolist())} against {listed(right_side(net, True))}",
        printed=near(truth(net), right_side(net, True)),
        corrected=corrected,
    )

"""Abstract, introduction and conclusion: what is said of common networks before they are trained."""

import numpy as np
import torch
from torch import nn

from experiments.claims.claim import Finding, Section, listed, number
from experiments.claims.means import relative_error
from experiments.claims.results import gallery
from landscape import predict
from lattice import families

section = Section("Abstract, introduction, conclusion: networks before training", [])


@section.claim(
    "abstract",
    "“most of the existing convolutional architectures define, at initialisation, a specific feature importance landscape”",
    instead="Smooth is not flat: VGGs have no grid, since 2 × 2 pools tile the image, and yet a dark border.",
    tests=("tests/landscape/test_networks.py::test_every_convolutional_classifier_of_torchvision_traces",),
)
def most_networks_have_a_landscape() -> Finding:
    variations = {name: network.variation for name, network in gallery().items()}
    uneven = sum(value > 0.01 for value in variations.values())
    vgg = max(value for name, value in variations.items() if name.startswith("vgg"))
    convnext = max(value for name, value in variations.items() if name.startswith("convnext"))
    border = predict(families.vgg((3, 64, 64)), gates="theory").report().centre_bias
    return Finding(
        f"of {len(variations)} torchvision classifiers at 64 pixels (docs/gallery.md) {uneven} have a total variation above "
        f"0.01 (ResNet-18 {number(variations['resnet18'])}, RegNets up to {number(max(variations.values()))}); VGGs have at "
        f"most {number(vgg)} and ConvNeXts {number(convnext)}, but the middle quarter of VGG-11's map is {border:.1f} times "
        "as bright as the rest",
        printed=uneven > len(variations) / 2,
        corrected=vgg < 0.01 and border > 1.5,
    )


@section.claim(
    "contributions; section 5",
    "the landscape is determined “by the network topology”: the path sum predicts what random networks do",
    instead="With the rates of gates that symmetry does not tell counted or computed.",
    tests=("tests/validation/test_real_networks.py::test_the_map_error_lies_below_four_percent",),
)
def predictions_agree_with_measurements() -> Finding:
    measured = {name: network for name, network in gallery().items() if network.verdict}
    verdicts = [network.verdict for network in measured.values()]
    agree, refuted = verdicts.count("AGREE"), verdicts.count("DISAGREE")
    open_ends = {name: network.error_high for name, network in measured.items() if network.verdict.startswith("NOT")}
    return Finding(
        f"{len(verdicts)} networks measured over 300 initialisations each (docs/gallery.md): {agree} agree with the "
        f"prediction within the tolerance, {refuted} disagree; {len(open_ends)} would need more draws, their intervals of the "
        f"map's error ending between {min(open_ends.values()):.1%} ({min(open_ends, key=open_ends.__getitem__)}) and "
        f"{max(open_ends.values()):.0%} ({max(open_ends, key=open_ends.__getitem__)})",
        printed=refuted == 0 and agree > len(verdicts) / 2,
    )


@section.claim(
    "contributions",
    "the landscape is conditioned “on the architecture being used and on the size of the image”",
    instead="A stride-2 layer whose padding is read on one side only tilts the map; sizes 32a + 1 mend ResNets.",
    tests=(
        "tests/lattice/geometry/test_evenness.py::test_resnet18_is_symmetric_at_225_pixels_and_not_at_224",
        "tests/landscape/maps/test_measures.py::test_uneven_padding_makes_the_map_asymmetric",
    ),
)
def size_matters() -> Finding:
    def asymmetry(size: int) -> float:
        return max(predict(families.resnet((3, size, size), width=8), gates="theory").report().flip_asymmetry)

    found = {size: asymmetry(size) for size in (64, 65, 96, 97)}
    even = max(found[65], found[97])
    return Finding(
        f"flip asymmetry of ResNet-18: {number(found[64])} at 64 pixels, {number(found[96])} at 96; "
        f"{'below 1e-9' if even < 1e-9 else number(even)} at 65 and 97",
        printed=found[64] > 0.1,
        corrected=even < 1e-9,
    )


@section.claim(
    "introduction",
    "“when initialized, most networks concentrate their attention to the center of the images and on other locations defined "
    "by the network topology”",
    instead="Zero padding darkens the border of every layer; strides that do not divide their kernels add a grid.",
    tests=("tests/landscape/maps/test_measures.py::test_flip_asymmetry_and_centre_bias_of_known_maps",),
)
def attention_to_the_centre() -> Finding:
    nets = {
        "ten unpadded 3 × 3 layers over 32 pixels": families.plain((32, 32), 10),
        "ten padded ones": families.plain((32, 32), 10, padding=1),
        "ResNet-18 at 64": families.resnet((3, 64, 64), width=8),
        "ResNet-18 at 224": families.resnet((3, 224, 224), width=8),
        "VGG-11 at 64": families.vgg((3, 64, 64)),
    }
    reports = {name: predict(net, gates="theory").report() for name, net in nets.items()}
    text = ", ".join(f"{name} {report.centre_bias:.2f}" for name, report in reports.items())
    grid = max(reports["ResNet-18 at 224"].gridding.values())
    biased = sum(report.centre_bias > 1.01 for report in reports.values())
    return Finding(
        f"mean of the middle quarter by that of the rest: {text}; ResNet-18's grid at 224: phases with a standard deviation "
        f"of {grid:.0%}",
        printed=biased > len(nets) / 2,
        corrected=grid > 0.05,
    )


@section.claim(
    "abstract; section 2",
    "that networks are translation invariant is true “for simple cases”, and common networks do not enjoy it",
    when="“simple” means circular padding, stride 1 and a global pool",
    instead="Zero padding breaks it everywhere; strides leave the multiples of their product.",
    tests=("tests/validation/evaluation/test_evaluation.py::test_a_network_that_sums_does_not_care_where",),
)
def translation_invariance() -> Finding:
    def change(shift: int, **options: object) -> float:
        layers: list[nn.Module] = [
            nn.Conv1d(1, 4, 3, padding=1, **options),
            nn.ReLU(),
            nn.Conv1d(4, 4, 3, padding=1, **options),
            nn.ReLU(),
        ]
        model = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1)).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(generator=generator)
            x = torch.randn(1, 1, 16, generator=generator, dtype=torch.float64)
            return float((model(x.roll(shift, 2)) - model(x)).abs().max() / model(x).abs().max())

    circular, zeros = change(1, padding_mode="circular"), change(1)
    one, two, four = (change(shift, padding_mode="circular", stride=2) for shift in (1, 2, 4))
    return Finding(
        f"two conv–ReLU layers and an average, an image moved around by one pixel: the output changes by {_none(circular)} "
        f"(circular), {zeros:.0%} (zero padding); stride 2 twice, circular, moved by 1, 2, 4: {one:.0%}, {two:.0%}, "
        f"{_none(four)}",
        printed=max(zeros, one) < 1e-9,
        within=circular < 1e-9,
        corrected=four < 1e-9 < min(one, two),
    )


def _none(value: float) -> str:
    return "nothing" if value < 1e-12 else f"{value:.0%}"


@section.claim(
    "3.3, first sentence",
    "“We have just shown that, after initialisation, each pixel importance is on average determined by the network topology”",
    when="the variances of the weights are given with the topology",
    instead="In chains they are one constant; in residual networks they weigh branch against skip, so that another "
    "initialisation of the same topology has another map.",
    tests=("tests/lattice/test_theorems.py::test_importance_of_a_residual_net_is_not_proportional_to_path_counts",),
)
def topology_alone() -> Finding:
    def change(net: object) -> float:
        low, high = (predict(net, initialisation=v, gates="theory").squared for v in (0.01, 0.1))
        return relative_error(low, high)

    residual_net = change(families.resnet((3, 33, 33), width=8))
    plain = change(families.plain((9, 9), 4, padding=1))
    chains = [plain, change(families.vgg((3, 32, 32)))]
    return Finding(
        f"all variances times ten: the map of a ResNet-18 of width 8 at 33 pixels changes by {residual_net:.1%}, of VGG-11 "
        f"and of a plain stack by {'nothing' if max(chains) < 1e-9 else listed(chains)}",
        printed=residual_net < 1e-9,
        within=bool(np.isfinite(residual_net)) and max(chains) < 1e-9,
    )

"""Sections 1, 3 and 4 again: what the paper expects of training, on networks of seconds (`python -m experiments.trials`)."""

from collections.abc import Sequence

import numpy as np

from experiments.claims.claim import Finding
from experiments.claims.results import TABLE_3, reproduced, trial
from experiments.claims.training.laptop import scale, section, shown
from validation.evaluation.corruptions.noise import gaussian_noise
from validation.reproduction.significance import paired

__all__: list[str] = []

WHERE = (
    "Handwritten digits of 8 × 8 pixels on 32 × 32 of noise, at the brightest and at the darkest tile of the predicted map; "
    "six seeds, 240 steps. The control is the same ResNet with its convolutions around the border: there no tile is darker."
)
TESTS = "tests/experiments/test_trials.py::test_"


def below_zero(interval: Sequence[float]) -> bool:
    return interval[2] < 0


def holds_zero(interval: Sequence[float]) -> bool:
    return interval[1] <= 0 <= interval[2]


def times(interval: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:+.3f}" for value in interval[1:]) + "]"


@section.claim(
    "introduction",
    "a model with a biased landscape “may be slower to train if a subset of images violates its default saliency map”",
    instead=WHERE,
    tests=(TESTS + "no_tile_of_the_circular_network_differs_from_another", TESTS + "digits_stand_where_they_were_placed"),
)
def violated_maps_slow_training() -> Finding:
    found = trial("places")
    keys = ("speed, half less bright", "speed, dark less bright", "speed in half, dark less bright")
    words = "; ".join(
        f"{name} ({one['predicted']['bright']:.2f} against {one['predicted']['dark']:.2f}): "
        f"{', '.join(shown(one[key]) for key in keys)}"
        for name, one in found.items()
        if isinstance(one, dict)
    )
    return Finding(
        "test Top-1, mean over the whole curve; half of the digits at the dark tile, then all of them, less all at the bright "
        f"one, then dark less bright where half are at each: {words}",
        printed=all(below_zero(found[name][key]) for name in ("resnet", "unpadded") for key in keys),
        corrected=all(holds_zero(found["circular"][key]) for key in keys),
    )


@section.claim(
    "introduction",
    "if the signal “does not match the preferred location of the network, there is a risk that confounding signals will "
    "prevail, and hence generalisation will be harmed”",
    instead=WHERE + " A second digit has the class of the first nine times in ten in training, and any in the test.",
    tests=(TESTS + "the_second_digit_tells_the_class_in_training_only",),
)
def confounding_signals_prevail() -> Finding:
    found = trial("confounders")
    top, other = "Top-1, dark less bright", "follows the other, dark less bright"
    words = "; ".join(
        f"{name}: Top-1 {one['Top-1']['signal bright']:.2f} → {one['Top-1']['signal dark']:.2f}, difference {shown(one[top])}, "
        f"answers by the other digit {one['follows the other']['signal bright']:.2f} → "
        f"{one['follows the other']['signal dark']:.2f}, {shown(one[other])}"
        for name, one in found.items()
        if isinstance(one, dict)
    )
    harmed = all(below_zero(found[name][top]) and found[name][other][1] > 0 for name in ("resnet", "unpadded"))
    return Finding(
        f"signal at the bright tile and the other at the dark one → exchanged, images whose digits differ: {words}",
        printed=harmed,
        corrected=holds_zero(found["circular"][top]),
    )


@section.claim(
    "after Lemma 1",
    "the gradient that flows from a pixel should “loosely correlate with the impact that that location will have, on average, "
    "over the loss”",
    when="the landscape is uneven",
    instead="Of an even one, as of the control before training, there is little to correlate with. "
    + WHERE
    + " Impact: the mean absolute change of an image's loss when a block of 4 × 4 pixels comes from another image; "
    "Spearman's correlation over the 64 blocks.",
    tests=(TESTS + "shuffling_blocks_that_a_network_does_not_read_changes_no_loss",),
)
def gradients_and_the_loss() -> Finding:
    found = {name: one["correlation"] for name, one in trial("places").items() if isinstance(one, dict)}
    words = "; ".join(
        f"{name}: {one['gradient before'][0]:.2f} {times(one['gradient before'])} before training, {one['gradient'][0]:.2f} "
        f"{times(one['gradient'])} after; times the pixels' variance {one['gradient, scaled before'][0]:.2f} and "
        f"{one['gradient, scaled'][0]:.2f}"
        for name, one in found.items()
    )
    above = {(name, key): interval[1] > 0 for name, one in found.items() for key, interval in one.items()}
    return Finding(
        words,
        printed=all(above.values()),
        within=all(holds for (name, key), holds in above.items() if name != "circular" or not key.endswith("before")),
    )


@section.claim(
    "3.3",
    "the training distribution “does have an impact on the landscape at test time for trained CNNs”",
    instead=WHERE + " What topology prefers is still there: the dark tile never gets as much as the bright one.",
    tests=(TESTS + "digits_stand_where_they_were_placed",),
)
def trained_landscapes_depend_on_data() -> Finding:
    found = {name: one for name, one in trial("places").items() if isinstance(one, dict)}
    dark, bright = "share of the dark place", "share of the bright place"
    words = "; ".join(
        f"{name}: {one[dark]['before']:.3f} before, {one[dark]['bright']:.3f} after digits at the bright tile, "
        f"{one[dark]['dark']:.3f} after digits at the dark one, difference {shown(one[f'{dark}, dark less bright'])}; of the "
        f"bright tile after digits there {one[bright]['bright']:.3f}"
        for name, one in found.items()
    )
    return Finding(
        f"share of the landscape in the dark tile, a sixteenth if flat: {words}",
        printed=all(one[f"{dark}, dark less bright"][1] > 0 for one in found.values()),
        corrected=all(found[name][dark]["dark"] < found[name][bright]["bright"] for name in ("resnet", "unpadded")),
    )


@section.claim(
    "3.3",
    "that augmentation helps to generalise “can be seen as indirect evidence for the claim that … translation invariance of "
    "CNNs is not verified”",
    when="the modification is a translation around the border, and nothing else",
    instead="A network that no such translation changes gains from noise and from the paper's crops as well (what enters a "
    "crop is reflected): those gains say nothing of invariance. "
    "Convolutions around the border, stride 1, a global average; 200 digits on noise, six seeds.",
    tests=(TESTS + "no_translation_around_the_border_changes_the_invariant_network",),
)
def augmentation_as_evidence() -> Finding:
    found = trial("augmentation")
    differences = found["difference"]
    words = "; ".join(f"{change}: {shown(value)}" for change, value in differences.items())
    return Finding(
        f"Top-1 of an invariant network without augmentation {found['Top-1']['none']:.3f}; difference with images "
        f"{words}. Rolled images change its logits by less than {max(1e-6, found['rolled logits apart']):.0e}",
        printed=not any(interval[1] > 0 for interval in differences.values()),
        within=holds_zero(differences["rolled"]) and found["rolled logits apart"] < 1e-5,
        corrected=differences["noised"][1] > 0 and differences["cropped"][1] > 0,
    )


@section.claim(
    "Fig. 5",
    "“a narrow range of ¶_t regularization weight made the model more robust to corruption when compared to SOTA, while too "
    "much regularization seemed to have the opposite effect”",
    instead=scale("figure5", "5000 digits"),
    tests=("tests/validation/evaluation/test_evaluation.py::test_ablation_is_deterministic_and_relevant_pixels_go_first",),
)
def narrow_range() -> Finding:
    areas = {tuple(which[1:]): by for which, by in reproduced("figure5")["areas"]}
    plain = areas["none", 0]
    words = []
    for alpha in (1, 10, 100):
        apart = paired(areas["target", alpha], plain)
        words.append(f"α = {alpha} {shown((apart.mean, apart.low, apart.high))}")
    mean = sum(plain.values()) / len(plain)
    return Finding(f"area under the ablation curve less SOTA's ({mean:.3f}), ¶_t: {'; '.join(words)}", None)


@section.claim(
    "Table 3, caption",
    "“uncorrelated pixel alterations had a qualitatively different impact on the prediction than correlated ones, such as "
    "Gaussian noise”",
    misprint=True,
    instead="Gaussian noise is the uncorrelated kind; “such as Gaussian noise” stands at the wrong end. The first half is what "
    "Table 3 shows: SOTA is ahead of every penalty in noise. " + scale("noise"),
    tests=(TESTS + "blurred_noise_has_the_variance_of_white_noise",),
)
def noise_is_uncorrelated() -> Finding:
    changed = gaussian_noise(np.full((64, 64, 3), 0.5), (0.1,), np.random.default_rng(0))
    inner = changed - changed.mean()
    beside = float((inner[:, 1:] * inner[:, :-1]).mean() / (inner**2).mean())
    penalised = [which for which in TABLE_3 if which[1] != "none"]
    behind = sum(TABLE_3[which]["noise"] < TABLE_3[which[0], "none", 0]["noise"] for which in penalised)
    rows = "; ".join(
        f"{row['row'].replace('RC- ', '')}: independent {shown(row['independent'][1:])}, correlated "
        f"{shown(row['correlated'][1:])}, squared gradient times {row['gradient']:.2f}"
        for row in reproduced("noise")["rows"][1:]
    )
    return Finding(
        f"correlation of neighbouring pixels of Gaussian noise {beside:+.3f}; behind SOTA in noise {behind} of "
        f"{len(penalised)}. On the laptop, what is kept less SOTA's, RC−: {rows}",
        printed=abs(beside) > 0.1,
        corrected=abs(beside) < 0.05 and behind == len(penalised),
    )

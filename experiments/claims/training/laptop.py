"""Sections 1, 4 and 5: what a laptop's runs say of the paper's questions, with intervals over seeds."""

from collections.abc import Sequence
from math import exp
from typing import Any

from experiments.claims.claim import Finding, Section
from experiments.claims.results import over_seeds, reproduced, study
from experiments.laptop.studies import SEEDS
from validation.reproduction.significance import paired
from validation.training.recipes import LAPTOP

section = Section("Sections 1, 4 and 5: the same questions on a laptop", [])

PLAIN = "no penalty"


PHOTOS, MNIST = "crops of eight photographs", "5000 digits"


def scale(part: str, data: str = PHOTOS) -> str:
    """What a part of docs/laptop.md was run on."""
    seeds = reproduced(part).get("seeds", len(SEEDS))
    return (
        f"One small ResNet on {data}, {LAPTOP.epochs} epochs, {seeds} seeds (docs/laptop.md), α as applied, mean over pixels: "
        "not CIFAR-100, not ImageNet."
    )


SCALE = scale("table1")
TEST = "tests/validation/reproduction/test_tables.py::test_"


def against_sota(row: str, score: str, experiment: str = "table1") -> list[float]:
    """Mean, low and high end of the 95 % interval of a row's difference from SOTA."""
    found = {entry["row"]: entry for entry in reproduced(experiment)["differences"]}
    return [float(value) for value in found[row][score][:3]]


def shown(values: Sequence[float]) -> str:
    """+0.012 [-0.005, +0.029]."""
    mean, low, high = values
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def factor(row: str) -> list[float]:
    """How many times a row's TV is below SOTA's, with its interval."""
    return [exp(value) for value in against_sota(row, "log TV")]


def listed_rows(kind: str, alphas: Sequence[int], score: str) -> str:
    """Each row's difference from SOTA in words."""
    return "; ".join(
        f"{crops} α = {alpha}: {shown(against_sota(f'{crops} {kind}, α = {alpha}', score))}"
        for crops in ("RC-", "RC+")
        for alpha in alphas
    ).replace("RC-", "RC−")


def ordering(text: str, experiment: str = "table1") -> dict[str, Any]:
    """The entry of docs/laptop.json for one of the paper's orderings."""
    return next(dict(one) for one in reproduced(experiment)["orderings"] if one["statement"] == text)


def larger_network(score: str) -> str:
    """What the second rung says of a score, in words."""
    rows = reproduced("rung")["rows"]
    values = ", ".join(f"{row['scores'][score]:.3f}" for row in rows)
    name = {"tv": "TV", "top1": "Top-1"}[score]
    return f"ResNet-18 on 64-pixel crops of photographs, one seed: {name} without penalty and with ¶_t, α = 1, 10: {values}"


@section.claim(
    "abstract; 4.2",
    "¶-regularised networks “have a flat importance landscape”",
    instead=SCALE + " ¶_t flattens, at every α. ¶_c as printed need not: its Laplacian sees no corners, and the landscape goes "
    "there; with a replicated border less of it does.",
    tests=("tests/validation/training/test_loop.py::test_the_result_holds_the_scores_and_the_landscapes",),
)
def penalties_flatten() -> Finding:
    def words(kind: str) -> str:
        values = {(c, a): factor(f"{c} {kind}, α = {a}") for c in ("RC-", "RC+") for a in (1, 10)}
        return ", ".join(f"{mean:.1f} [{low:.2g}, {high:.2g}]" for mean, low, high in values.values())

    rows = [row for row in reproduced("borders")["rows"] if row["score"] in ("TV", "border share")]
    ruled = "; ".join(f"{row['score']} {row['means'][0]:.2f} → {row['means'][1]:.2f}" for row in rows)
    return Finding(
        f"TV below SOTA's by the factors (RC− α = 1, 10, RC+ α = 1, 10): ¶_t {words('¶_t')}; ¶_c {words('¶_c')}. ¶_c with "
        f"α = 1, unpadded → replicated border, RC− then RC+: {ruled}. {larger_network('tv')}",
        None,
    )


@section.claim(
    "abstract; 4.2",
    "… and “result in a better accuracy”",
    instead=SCALE + " No gain is seen; the paper's best setting, ¶_t with α = 10, is not above SOTA here.",
    tests=(TEST + "intervals_are_students_over_paired_seeds",),
)
def penalties_and_accuracy() -> Finding:
    digits = "; ".join(f"α = {a}: {shown(against_sota(f'¶_t, α = {a}', 'Top-1', 'table2'))}" for a in (1, 10))
    return Finding(
        f"Top-1 less SOTA's, ¶_t: {listed_rows('¶_t', (1, 10), 'Top-1')}; digits, three seeds: {digits}. "
        f"{larger_network('top1')}",
        None,
    )


@section.claim(
    "4.2.1",
    "“regularization was better achieved when it was guided by the data” (¶_t before ¶_c)",
    instead=SCALE + " With the same α it is: ¶_c's gradient is thirty times ¶_t's here before the first step, and its α = 10 "
    "crushes the network.",
    tests=("tests/validation/gradients/test_objective.py::test_replicated_borders_leave_nowhere_to_hide_a_landscape",),
)
def target_before_curvature() -> Finding:
    ratios = {
        entry["row"]: sum(entry["gradient ratio at step 0"]) / len(entry["gradient ratio at step 0"])
        for entry in reproduced("table1")["differences"]
    }
    target, curvature = (listed_rows(kind, (1, 10), "Top-1") for kind in ("¶_t", "¶_c"))
    return Finding(
        f"Top-1 less SOTA's: ¶_t {target}; ¶_c {curvature}. Gradient norm over the cross-entropy's at step 0, α = 1, RC−: ¶_t "
        f"{ratios['RC- ¶_t, α = 1']:.2f}, ¶_c {ratios['RC- ¶_c, α = 1']:.1f}",
        None,
    )


@section.claim(
    "4.1, 4.2.1",
    "“regularisation weight had a significant impact on performance”; weights 1, 10, 100",
    instead=SCALE + " It has: 1 and 10 flatten ¶_t's landscapes at no significant cost, 100 costs accuracy.",
    tests=("tests/validation/evaluation/runs/test_tables.py::test_train_takes_the_papers_names_and_weights",),
)
def weight_matters() -> Finding:
    return Finding(f"Top-1 less SOTA's, ¶_t: {listed_rows('¶_t', (1, 10, 100), 'Top-1')}", None)


@section.claim(
    "3.3; 4.2.1",
    "data augmentation (random cropping, flipping) makes networks “less sensitive to the feature location” and flattens their "
    "landscape",
    instead=SCALE
    + " On digits flips and crops flatten, at a cost: a mirrored digit is another one. Random crops of photographs "
    "do not.",
    tests=("tests/validation/datasets/test_datasets.py::test_a_random_crop_is_a_crop_of_the_reflected_image",),
)
def augmentation_flattens() -> Finding:
    rows, photos = study("digits"), ordering("random crops lower TV, whatever the penalty")
    augmented = rows[f"{PLAIN}, augment flip+crop"]
    mean, low, high = photos["differences"][0]
    right, of = photos["right way round"]
    return Finding(
        f"photographs, no penalty, log TV of RC− less RC+: {shown([mean, low, high])}, and {right} of {of} settings lower with "
        f"crops; digits: TV {rows[PLAIN]['tv']} without, {augmented['tv']} with flips and crops, Top-1 {rows[PLAIN]['top1']} "
        f"and {augmented['top1']}",
        None,
    )


@section.claim(
    "introduction",
    "networks first attend to the centre and “later during training, learn to attend to peripheral features when necessary”",
    instead=scale("corners", MNIST),
    tests=("tests/validation/datasets/test_datasets.py::test_corner_digits_leave_the_centre_black_and_fill_every_corner",),
)
def training_moves_attention() -> Finding:
    rows = {name: study(name)[PLAIN] for name in ("digits", "corners")}
    parts = [f"{name} {row['tv before']} to {row['tv']}" for name, row in rows.items()]
    return Finding(
        f"TV before and after training without penalty: {'; '.join(parts)}. Digits in corners are learnt, Top-1 "
        f"{rows['corners']['top1']}",
        None,
    )


@section.claim(
    "section 5",
    "the topology's bias “conditions the capability of the network to attend to various locations … during training, and … "
    "impacts performance”",
    instead=scale("sizes", MNIST)
    + " 33 pixels instead of 32 mend the padding and leave about half of the asymmetry; accuracy does not tell.",
    tests=("tests/landscape/test_advise.py::test_an_even_input_size_is_flip_symmetric_by_exact_counts",),
)
def bias_and_performance() -> Finding:
    rows = study("sizes")
    even, uneven = rows[f"{PLAIN}, size 33"], rows[PLAIN]
    moved = "; ".join(
        f"{run}: {', '.join(f'{name} {over_seeds(values)}' for name, values in one['moved'].items())}"
        for run, one in reproduced("digits").items()
        if isinstance(one, dict)
    )
    return Finding(
        f"32 pixels: asymmetry {uneven['asymmetry']}, Top-1 {uneven['top1']}; 33 pixels: {even['asymmetry']}, "
        f"{even['top1']}. Test images moved: {moved}",
        None,
    )


@section.claim(
    "abstract; 4.2.1, Table 3; 4.2.2, Table 4",
    "… and “are more robust to noise at test time”",
    instead=scale("table3"),
    tests=(
        "tests/validation/evaluation/measures/test_robustness.py::test_kept_is_the_probability_of_the_class_of_the_clean_image",
    ),
)
def penalties_and_robustness() -> Finding:
    verdicts = "; ".join(
        f"{where}{one['statement']}: {one['verdict']} ({one['right way round'][0]} of {one['right way round'][1]} means)"
        for where, part in (("", "table3"), ("digits: ", "table4"))
        for one in reproduced(part)["orderings"]
    )
    return Finding(verdicts.replace("RC-", "RC−"), None)


@section.claim(
    "4.2.2, Fig. 5",
    "¶_t makes networks more robust to the ablation of their most relevant pixels",
    instead=scale("figure5", MNIST),
    tests=("tests/validation/evaluation/test_evaluation.py::test_ablation_is_deterministic_and_relevant_pixels_go_first",),
)
def penalties_and_ablation() -> Finding:
    found = {(kind, alpha): by for (_, kind, alpha), by in reproduced("figure5")["areas"]}
    plain = found.pop(("none", 0))
    names = {"target": "¶_t", "curvature": "¶_c"}
    parts = []
    for (kind, alpha), by in found.items():
        apart = paired(by, plain)
        parts.append(f"{names[kind]} α = {alpha} {shown((apart.mean, apart.low, apart.high))}")
    return Finding(f"area under the ablation curve {over_seeds(plain.values())} for SOTA; less it: {'; '.join(parts)}", None)


@section.claim(
    "abstract; Fig. 4",
    "… and “train faster”",
    instead=SCALE + " By Top-1 inside the first epoch, ¶_t with α = 1 is ahead in RC− and not in RC+, with α = 10 in neither. "
    "On digits (for ImageNet, whose first epoch Figure 4 shows) α = 1 is ahead in the mean, and α = 10 behind.",
    tests=(TEST + "last_and_best_epochs_differences_and_failures_are_told_apart",),
)
def penalties_and_speed() -> Finding:
    digits = "; ".join(f"α = {a}: {shown(against_sota(f'¶_t, α = {a}', 'first epoch', 'table2'))}" for a in (1, 10))
    return Finding(
        f"mean Top-1 in the first epoch less SOTA's, ¶_t: {listed_rows('¶_t', (1, 10), 'first epoch')}; digits: {digits}", None
    )

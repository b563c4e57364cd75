"""Sections 1, 4 and 5: what a laptop's runs say of the paper's questions."""

from experiments.claims.claim import Finding, Section
from experiments.claims.results import CATEGORIES, Value, evaluation, laptop
from validation.training.recipes import LAPTOP

section = Section("Sections 1, 4 and 5: the same questions on a laptop", [])

PLAIN, TARGET, CURVATURE = "no penalty", "target, alpha 0.0003", "curvature, alpha 0.003"
SCALE = f"One small ResNet, {LAPTOP.epochs} epochs, three seeds (`make laptop`, docs/laptop.md): not CIFAR-100, not ImageNet."


def difference(one: Value, other: Value) -> str:
    """one - other with its standard error."""
    return f"{one.mean - other.mean:+.4f} ± {(one.error**2 + other.error**2) ** 0.5:.1g}"


@section.claim(
    "abstract; 4.2",
    "¶-regularised networks “have a flat importance landscape”",
    instead=SCALE + " The penalties do what they are made for.",
    tests=("tests/validation/training/test_loop.py::test_the_result_holds_the_scores_and_the_landscapes",),
)
def penalties_flatten() -> Finding:
    def ratio(study: str, run: str) -> str:
        rows = laptop()[study]
        return f"{rows[PLAIN]['TV'].mean / rows[run]['TV'].mean:.1f}"

    studies = ("digits", "corners", "photos")
    return Finding(
        f"TV falls by the factors {', '.join(ratio(s, TARGET) for s in studies)} with ¶_t (α = 3e-4) and "
        f"{', '.join(ratio(s, CURVATURE) for s in studies)} with ¶_c (α = 0.003) on digits, digits in corners, photographs",
        None,
    )


@section.claim(
    "abstract; 4.2",
    "… and “result in a better accuracy”",
    instead=SCALE + " No gain stands out of the noise of three seeds, and no loss.",
    tests=("tests/validation/evaluation/runs/test_tables.py::test_repeats_are_averaged_with_their_standard_error",),
)
def penalties_and_accuracy() -> Finding:
    parts = [
        f"{study}: ¶_t {difference(rows[TARGET]['Top-1'], rows[PLAIN]['Top-1'])}, ¶_c "
        f"{difference(rows[CURVATURE]['Top-1'], rows[PLAIN]['Top-1'])}"
        for study in ("digits", "corners", "photos")
        for rows in [laptop()[study]]
    ]
    return Finding(f"Top-1 against no penalty, {'; '.join(parts)}", None)


@section.claim(
    "4.2.1",
    "“regularization was better achieved when it was guided by the data” (¶_t before ¶_c)",
    instead=SCALE
    + " The target flattens more at no cost; the curvature penalty at ten times its weight ends in the border pixels that Eq. "
    "16 does not see.",
    tests=("tests/validation/gradients/test_objective.py::test_the_printed_curvature_penalty_sees_no_corner_and_hardly_a_border",),
)  # fmt: skip
def target_before_curvature() -> Finding:
    rows = laptop()["digits"]
    return Finding(
        f"digits: TV and Top-1 of ¶_t (3e-4) {rows[TARGET]['TV']}, {rows[TARGET]['Top-1']}; of ¶_c (0.003) "
        f"{rows[CURVATURE]['TV']}, {rows[CURVATURE]['Top-1']}; of ¶_c (0.03) {rows['curvature, alpha 0.03']['TV']}, "
        f"{rows['curvature, alpha 0.03']['Top-1']}",
        None,
    )


@section.claim(
    "4.1, 4.2.1",
    "“regularisation weight had a significant impact on performance”; weights 1, 10, 100",
    instead=SCALE + " Within so few steps the useful weights are smaller by orders of magnitude; too large ones cost accuracy.",
    tests=("tests/validation/evaluation/runs/test_tables.py::test_train_takes_the_papers_names_and_weights",),
)
def weight_matters() -> Finding:
    rows = laptop()["digits"]
    runs = (PLAIN, "target, alpha 3e-05", TARGET, "target, alpha 0.003")
    return Finding("digits, Top-1: " + "; ".join(f"{run} {rows[run]['Top-1']}" for run in runs), None)


@section.claim(
    "3.3; 4.2.1",
    "data augmentation (random cropping, flipping) makes networks “less sensitive to the feature location” and flattens their "
    "landscape",
    instead=SCALE + " Flat it does, at a cost here: a mirrored digit is another one.",
    tests=("tests/validation/datasets/test_datasets.py::test_a_random_crop_is_a_crop_of_the_reflected_image",),
)
def augmentation_flattens() -> Finding:
    rows = laptop()["digits"]
    augmented = rows["no penalty, augment flip+crop"]
    return Finding(
        f"digits: TV {rows[PLAIN]['TV']} without, {augmented['TV']} with flips and crops; Top-1 {rows[PLAIN]['Top-1']} and "
        f"{augmented['Top-1']}",
        None,
    )


@section.claim(
    "introduction",
    "networks first attend to the centre and “later during training, learn to attend to peripheral features when necessary”",
    instead=SCALE,
    tests=("tests/validation/datasets/test_datasets.py::test_corner_digits_leave_the_centre_black_and_fill_every_corner",),
)
def training_moves_attention() -> Finding:
    rows = {study: laptop()[study][PLAIN] for study in ("digits", "corners", "photos")}
    parts = [f"{study} {row['TV before']} to {row['TV']}" for study, row in rows.items()]
    return Finding(
        f"TV before and after training without penalty: {'; '.join(parts)}. Digits in corners are learnt, Top-1 "
        f"{rows['corners']['Top-1']}",
        None,
    )


@section.claim(
    "section 5",
    "the topology's bias “conditions the capability of the network to attend to various locations … during training, and … "
    "impacts performance”",
    instead=SCALE + " 33 pixels instead of 32 mend the padding and leave about half of the asymmetry; accuracy does not tell.",
    tests=("tests/landscape/test_advise.py::test_an_even_input_size_is_flip_symmetric_by_exact_counts",),
)
def bias_and_performance() -> Finding:
    rows = laptop()["sizes"]
    even, uneven = rows["no penalty, size 33"], rows[PLAIN]
    location = evaluation("consistency", "shift")
    moved = "; ".join(f"{run}: {', '.join(f'{k} {v}' for k, v in values.items())}" for run, values in location.items())
    return Finding(
        f"32 pixels: asymmetry {uneven['flip asymmetry']}, Top-1 {uneven['Top-1']}; 33 pixels: {even['flip asymmetry']}, "
        f"{even['Top-1']}. Test images moved (docs/laptop-evaluation.json): {moved or 'not measured here'}",
        None,
    )


@section.claim(
    "abstract; 4.2.1, Table 3",
    "… and “are more robust to noise at test time”",
    instead=SCALE,
    tests=(
        "tests/validation/evaluation/measures/test_robustness.py::test_kept_is_the_probability_of_the_class_of_the_clean_image",
    ),
)
def penalties_and_robustness() -> Finding:
    return Finding(_evaluated(*CATEGORIES, "corrupt", "robust"), None)


@section.claim(
    "4.2.2, Fig. 5",
    "¶_t makes networks more robust to the ablation of their most relevant pixels",
    instead=SCALE,
    tests=("tests/validation/evaluation/test_evaluation.py::test_ablation_is_deterministic_and_relevant_pixels_go_first",),
)
def penalties_and_ablation() -> Finding:
    return Finding(_evaluated("ablation"), None)


def _evaluated(*words: str) -> str:
    rows = evaluation(*words)
    if not rows:
        return "not measured here (docs/laptop-evaluation.json has no such numbers)"
    return "; ".join(f"{run}: {', '.join(f'{name} {value}' for name, value in values.items())}" for run, values in rows.items())


@section.claim(
    "abstract; Fig. 4",
    "… and “train faster”",
    instead=SCALE + " What one evaluation of the penalty costs is in benchmarks/results.md; curves over epochs are "
    "docs/figures/laptop-digits-curves.png, from which no number was taken.",
    tests=("tests/validation/evaluation/runs/test_tables.py::test_figures_show_every_recipe",),
)
def penalties_and_speed() -> Finding:
    return Finding("not measured here", None)

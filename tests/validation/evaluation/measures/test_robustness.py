"""Robustness and corruption errors, against networks whose answers under corruption are known."""

import numpy as np
import pytest
import torch
from torch import nn

from lattice import SpecificationError
from validation.datasets.dataset import Arrays
from validation.evaluation.corruptions import CATEGORIES
from validation.evaluation.measures.corrupted import Held, Made
from validation.evaluation.measures.corruption_error import ALEXNET, ALEXNET_CLEAN, corruption_error
from validation.evaluation.measures.robustness import PAPER, Robustness, named, robustness, under_corruption
from validation.evaluation.summaries.cells import Cell, Row, Table

pytest.importorskip("skimage")


def images(count=12, channels=1, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return Arrays(pixels, torch.arange(count) % 2, (0.25,) * channels, (0.5,) * channels)


class Darker:
    """A corruption that is known: `severity` * 10 less light everywhere."""

    def __init__(self, source):
        self.source = source

    def images(self, name, severity, first, last):
        return self.source.images(torch.arange(first, last)).clamp(min=10 * severity) - 10 * severity


class Brightness(nn.Module):
    """Logits (0, s (mean of the image's bytes - 128)), read back from the normalised image."""

    def forward(self, x):
        mean = ((x * 0.5 + 0.25) * 255).mean(dim=(1, 2, 3)) - 128
        return torch.stack([torch.zeros_like(mean), 0.1 * mean], dim=1)


class Blind(nn.Module):
    """Answers the same to everything."""

    def forward(self, x):
        return torch.tensor([[0.3, 1.7]]).repeat(len(x), 1)


def softmax_1(bytes_mean):
    return 1 / (1 + np.exp(-0.1 * (bytes_mean - 128)))


def test_kept_is_the_probability_of_the_class_of_the_clean_image():
    """What is kept is the probability of the class predicted for the clean image right or wrong."""
    source = images()
    (found,) = under_corruption([Brightness()], source, "darker", (1, 3), Darker(source), images=range(12), chunk=5)
    clean = source.pixels.double().mean(dim=(1, 2, 3)).numpy()
    chosen = (clean > 128).astype(int)
    assert 0 < chosen.mean() < 1
    assert 0 < (chosen == source.labels.numpy()).mean() < 1
    for row, severity in enumerate((1, 3)):
        dark = np.maximum(source.pixels.numpy().astype(float) - 10 * severity, 0).mean(axis=(1, 2, 3))
        p, q = softmax_1(dark), softmax_1(clean)
        expected = np.where(chosen == 1, p / q, (1 - p) / (1 - q))
        np.testing.assert_allclose(found["kept"][row], expected, rtol=1e-4)
        np.testing.assert_array_equal(found["right"][row], (dark > 128) == source.labels.numpy())
    assert (found["kept"] > 1).any()  # darker images make the dark class surer
    np.testing.assert_array_equal(found["clean"], chosen == source.labels.numpy())


def test_a_network_that_ignores_its_input_keeps_exactly_everything():
    found = robustness(Blind(), images(), categories=("noise", "digital"), severities=(1, 5), constants="cifar")
    assert (found.kept == 1).all()
    assert found.names == (*CATEGORIES["noise"], *CATEGORIES["digital"])
    assert found.overall("right") == pytest.approx((0.5, 0.5 / 11**0.5))
    for mean, error in found.by_category().values():
        assert (mean.tolist(), error.tolist()) == ([1, 1], [0, 0])


def test_corruption_precedes_normalisation_and_ignores_chunks():
    source = images(channels=3)
    made = Made(source, 3, "cifar")
    assert made.images("gaussian_noise", 2, 0, 12).dtype == torch.uint8
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    whole = under_corruption([model], source, "gaussian_noise", (2, 4), made, images=range(12), chunk=12)[0]
    for chunk in (1, 5):
        parts = [
            under_corruption([model], source, "gaussian_noise", (2, 4), made, images=block, chunk=chunk)[0]
            for block in (range(7), range(7, 12))
        ]
        np.testing.assert_allclose(np.concatenate([part["kept"] for part in parts], axis=1), whole["kept"], rtol=1e-5)
    x = source.normalised(made.images("gaussian_noise", 2, 0, 12))
    with torch.no_grad():
        p, q = model(x).double().softmax(1), model(source.batch(torch.arange(12))).double().softmax(1)
    best = q.argmax(dim=1, keepdim=True)
    np.testing.assert_allclose(whole["kept"][0], (p.gather(1, best) / q.gather(1, best))[:, 0], rtol=1e-5)


def drawn(count, seed=0, names=3, severities=(1, 2, 3, 4, 5), chance=0.6):
    """Answers that are right by chance, an image's own chance shared by all its corruptions."""
    generator = np.random.default_rng(seed)
    chances = np.clip(chance + 0.3 * generator.standard_normal(count), 0, 1)
    right = generator.random((names, len(severities), count)) < chances
    kept = generator.random(right.shape)
    return Robustness(CATEGORIES["noise"][:names], severities, kept, right, generator.random(count) < 0.9)


def test_a_network_against_itself_has_a_corruption_error_of_exactly_one():
    run = drawn(50)
    found = corruption_error(run, [run])
    assert found.each.tolist() == [1, 1, 1]
    assert (found.mean, found.relative_mean) == (1, 1)
    assert found.mean_error == pytest.approx(0, abs=1e-12)
    repeats = [drawn(50, seed) for seed in range(3)]
    assert np.mean([corruption_error(run, repeats).each for run in repeats], axis=0) == pytest.approx(1)


def test_corruption_errors_are_the_ratios_of_their_definition():
    run, other = drawn(40, 1, chance=0.5), drawn(40, 2)
    found = corruption_error(run, [other])
    for c in range(3):
        above, below = (sum(1 - r.right[c, s].mean() for s in range(5)) for r in (run, other))
        assert found.each[c] == pytest.approx(above / below)
        rise, rise_other = (sum(r.clean.mean() - r.right[c, s].mean() for s in range(5)) for r in (run, other))
        assert found.relative[c] == pytest.approx(rise / rise_other)
    assert found.mean == pytest.approx(found.each.mean())


def test_standard_errors_hold_where_corruptions_of_an_image_go_together():
    """Over 300 sets of 200 images: the spread of the estimates against the mean of their stated errors, within 15 %."""
    runs = [drawn(200, seed) for seed in range(300)]
    others = [drawn(200, 1000 + seed, chance=0.4) for seed in range(300)]
    stated = [corruption_error(run, [other]) for run, other in zip(runs, others, strict=True)]
    spread = np.std([found.mean for found in stated])
    assert np.mean([found.mean_error for found in stated]) == pytest.approx(spread, rel=0.15)
    right = [run.overall("right") for run in runs]
    assert np.mean([error for _, error in right]) == pytest.approx(np.std([mean for mean, _ in right]), rel=0.15)
    naive = (0.24 / (200 * 15)) ** 0.5  # as if all answers of an image were independent
    assert np.std([mean for mean, _ in right]) > 1.5 * naive


def test_alexnet_is_the_reference_of_the_published_benchmark_only():
    assert list(ALEXNET) == list(named(PAPER))
    count = 10
    right = np.zeros((15, 5, count), dtype=bool)
    run = Robustness(named(PAPER), (1, 2, 3, 4, 5), right + 0.0, right, np.zeros(count, dtype=bool))
    found = corruption_error(run, None)
    assert found.mean == pytest.approx(np.mean([1 / error for error in ALEXNET.values()]))
    assert found.relative.tolist() == pytest.approx([0] * 15, abs=1e-12)
    assert min(ALEXNET.values()) > ALEXNET_CLEAN
    with pytest.raises(SpecificationError, match="severities 1 to 5"):
        corruption_error(drawn(10, severities=(1, 2)), None)


def test_where_the_reference_makes_no_errors_there_is_no_ratio():
    run = drawn(20)
    perfect = Robustness(run.names, run.severities, run.kept, run.right | True, run.clean | True)
    found = corruption_error(run, [perfect])
    assert np.isnan(found.each).all()
    assert np.isnan(found.mean)
    with pytest.raises(SpecificationError, match="other corruptions, severities or images"):
        corruption_error(run, [drawn(19)])


def test_published_folders_are_read_and_hold_these_images_or_are_refused(tmp_path):
    source = images(channels=3, size=8)
    clean = source.pixels.permute(0, 2, 3, 1).numpy()
    np.save(tmp_path / "fog.npy", np.concatenate([clean // severity for severity in range(1, 6)]))
    np.save(tmp_path / "labels.npy", source.labels.numpy())
    held = Held(source, tmp_path)
    assert torch.equal(held.images("fog", 3, 2, 9), source.pixels[2:9] // 3)
    before = held.key("fog")
    np.save(tmp_path / "fog.npy", np.concatenate([clean // (severity + 1) for severity in range(1, 6)]))
    assert held.key("fog") != before
    np.save(tmp_path / "labels.npy", 1 - source.labels.numpy())
    with pytest.raises(SpecificationError, match="made from another data set"):
        held.images("fog", 3, 2, 9)
    np.save(tmp_path / "labels.npy", source.labels.numpy())
    with pytest.raises(SpecificationError, match="take the size of the published ones"):
        Held(images(channels=3, size=9), tmp_path).images("fog", 1, 0, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"categories": ("nose",)}, "categories nose: there are noise"),
        ({"categories": ()}, "none"),
        ({"severities": (6,)}, "severity is 6"),
        ({"constants": "mnist"}, "constants is 'mnist'"),
    ],
)
def test_corruptions_that_there_are_not_are_refused(options, words):
    with pytest.raises(SpecificationError, match=words):
        robustness(Blind(), images(), **options)


# the header of the paper's Tables 3 and 4, typed from it
PRINTED = r"""
 & & \multicolumn{5}{c}{noise} & \multicolumn{5}{c}{blur} & \multicolumn{5}{c}{weather} & \multicolumn{5}{c}{digital} \\
run & repeats & 1 & 2 & 3 & 4 & 5 & 1 & 2 & 3 & 4 & 5 & 1 & 2 & 3 & 4 & 5 & 1 & 2 & 3 & 4 & 5 \\
"""


def test_the_table_has_the_papers_layout():
    columns = tuple((kind, str(severity)) for kind in PAPER for severity in range(1, 6))
    first, second = (tuple(Cell(i / 20 + off, 0.01, 0.02) for i in range(20)) for off in (0.0, 0.004))
    table = Table("T", columns, (Row("a_b", 3, first), Row("c", 3, second)), digits=2, best="high", below=True, note="N")
    latex = table.latex()
    for line in PRINTED.strip().splitlines():
        assert line.strip() in latex
    assert r"a\_b & 3 & 0.00 & 0.05" in latex
    assert "textbf" not in latex  # 0.004 apart, with standard errors of 0.01
    head, _, first_line, second_line = table.markdown().splitlines()[2:6]
    assert head.startswith("| run | repeats | noise 1 | noise 1 s.e. | noise 2 | noise 2 s.e. |")
    names = [name.strip() for name in head.strip("|").split("|")]
    assert len(set(names)) == len(names) == 42
    assert first_line.startswith("| a_b | 3 | 0.00 | 0.01 | 0.05 | 0.01 |")
    assert first_line.count("|") == second_line.count("|") == head.count("|")


@pytest.mark.parametrize(
    ("best", "cells", "bold"),
    [
        ("high", [(1.0, 0.01, 3), (2.0, 0.01, 3)], [False, True]),
        ("low", [(1.0, 0.01, 3), (2.0, 0.01, 3)], [True, False]),
        ("high", [(1.0, 0.2, 3), (2.0, 0.2, 3)], [False, False]),  # 4.3 standard errors to each side
        ("high", [(1.0, 0.01, 1), (2.0, 0.01, 3)], [False, False]),  # one run has no interval
        ("high", [(1.0, 0.01, 3), (2.0, 0.01, 3), (2.0, 0.01, 3)], [False, False, False]),
        ("high", [(float("nan"), 0.01, 3), (2.0, 0.01, 3)], [False, False]),  # nothing to part from
        ("", [(1.0, 0.01, 3), (2.0, 0.01, 3)], [False, False]),
    ],
)
def test_bold_is_what_parts_from_all_others(best, cells, bold):
    over = [error if repeats > 1 else float("nan") for _, error, repeats in cells]
    rows = tuple(Row("r", n, (Cell(mean, one, 0.01),)) for (mean, _, n), one in zip(cells, over, strict=True))
    text = Table("T", (("blur", "1"),), rows, best=best).markdown()
    assert ["**" in line for line in text.splitlines()[4 : 4 + len(cells)]] == bold
    assert ("Bold: the" in text) == any(bold)
    assert "| blur 1 | blur 1 s.e. |" in text  # a number alone is no name


def test_an_interval_is_that_of_students_t():
    stats = pytest.importorskip("scipy.stats")
    values = [0.3, 0.5, 0.4, 0.45]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert Cell.of([(value, 0.1) for value in values]).interval(4) == pytest.approx(expected)


def test_a_table_is_a_data_frame_and_headings_cover_their_errors():
    row = Row("a", 3, (Cell(0.5, 0.1, 0.2), Cell(0.25, float("nan"), float("nan"))))
    table = Table("T", (("ours", "x"), ("paper", "x")), (row,))
    assert r"\multicolumn{2}{c}{ours} & \multicolumn{1}{c}{paper}" in table.latex()
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-5}" in table.latex()
    assert "run & repeats & x & s.e. & x" in table.latex()
    assert "| run | repeats | ours x | ours x s.e. | paper x |" in table.markdown()
    assert table.to_dict()["rows"][0]["ours x"] == {"mean": 0.5, "error over repeats": 0.1, "error over images": 0.2}
    pytest.importorskip("pandas")
    frame = table.to_dataframe()
    assert frame.loc[0, "ours x.mean"] == 0.5
    assert frame.loc[0, "ours x.error over repeats"] == 0.1

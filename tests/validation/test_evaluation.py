"""Location and ablation, against networks whose answers are known."""

import numpy as np
import pytest
import torch
from torch import nn

from lattice import SpecificationError
from validation.evaluation.ablation import ablation, ablation_curve, relevance
from validation.evaluation.location import location_sensitivity, translated
from validation.training.data import Arrays


def noise(count=40, size=6, classes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=generator)
    return Arrays(pixels, torch.arange(count) % classes, (0.0,), (1.0,))


class TopLeft(nn.Module):
    """Answers 1 where the top left pixel is bright."""

    def forward(self, x):
        bright = x[:, 0, 0, 0] - 0.5
        return torch.stack([-bright, bright], dim=1) * 20


def points(size=8):
    """A bright pixel at (2, 2) in images of class 1, none in those of class 0."""
    pixels = torch.zeros(10, 1, size, size, dtype=torch.uint8)
    pixels[5:, 0, 2, 2] = 255
    return Arrays(pixels, (torch.arange(10) >= 5).long(), (0.0,), (1.0,))


def test_accuracy_lies_where_the_network_looks():
    found = location_sensitivity(TopLeft(), points(), (-4, -2, 0, 2, 4))
    expected = np.full((5, 5), 0.5)  # it sees the bright pixels only when they come to its corner
    expected[1, 1] = 1
    np.testing.assert_allclose(found.accuracy, expected)
    assert found.consistency[2, 2] == 1
    assert found.consistency[1, 1] == 0.5
    assert found.asymmetry == 0.5
    assert found.error(found.accuracy)[0, 0] == pytest.approx((0.25 / 10) ** 0.5)


def test_a_network_that_sums_does_not_care_where():
    class Sums(nn.Module):
        def forward(self, x):
            total = x.sum(dim=(1, 2, 3)) - 0.5
            return torch.stack([-total, total], dim=1)

    found = location_sensitivity(Sums(), points(), (-2, 0, 2))
    assert (found.accuracy == 1).all()
    assert found.asymmetry == 0


def test_a_translation_is_numpys_edge_padding():
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
    for down, right in ((0, 0), (2, -3), (-4, 4)):
        expected = padded[:, :, 4 - down : 9 - down, 4 - right : 10 - right]
        np.testing.assert_array_equal(translated(images, down, right), expected)


@pytest.mark.parametrize("shifts", [(-2, 2), (0, 0), (2, 0), (0, 9)])
def test_shifts_that_make_no_sense_are_refused(shifts):
    with pytest.raises(SpecificationError, match="shifts is"):
        location_sensitivity(TopLeft(), points(), shifts)


# --- ablation


def linear(seed=0, size=6, classes=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes))


def test_integrated_gradients_of_a_linear_network_are_weight_times_distance_from_the_mean_baseline():
    pytest.importorskip("captum")
    model, source = linear(), noise()
    image, baselines = source.batch(torch.tensor([0]))[0], source.batch(torch.arange(1, 9))
    found = relevance(model, image, 1, baselines, steps=4)
    weight = model[1].weight[1].reshape(6, 6)
    torch.testing.assert_close(found, (weight * (image[0] - baselines.mean(dim=0)[0])).detach().float(), rtol=1e-4, atol=1e-5)


def test_the_curve_replaces_the_first_k_pixels_of_the_order_by_the_images_mean():
    model, source = linear(), noise()
    image = source.batch(torch.tensor([3]))[0]
    order = torch.randperm(36, generator=torch.Generator().manual_seed(2))
    found = ablation_curve(model, image, 1, order, range(37), chunk=5)
    for count in (0, 1, 7, 36):
        changed = image.clone().flatten()
        changed[order[:count]] = image.mean()
        p = model(torch.stack([image, changed.reshape(1, 6, 6)])).double().softmax(1)[:, 1]
        assert found[count].item() == pytest.approx((p[1] / p[0]).item(), rel=1e-6)


def test_ablation_is_deterministic_ends_where_it_should_and_relevant_pixels_go_first():
    pytest.importorskip("captum")
    model, source = linear(), noise(60)
    with torch.no_grad():
        labels = model(source.batch(torch.arange(60))).argmax(dim=1)
    source = Arrays(source.pixels, labels, (0.0,), (1.0,))  # all are classified correctly
    state = torch.random.get_rng_state()
    one, two = (ablation(model, source, images=12, baselines=8, steps=4, chunk=chunk) for chunk in (512, 7))
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_allclose(one.ratio, two.ratio, rtol=1e-4)
    assert one.replaced.tolist() == list(range(37))
    np.testing.assert_allclose(one.ratio[:, 0], 1, rtol=1e-6)
    assert one.curve[5] < 0.95 < 1.001
    area, error = one.area
    assert 0 < area < 1
    assert 0 < error < 0.2
    assert area == pytest.approx(np.trapezoid(one.curve, np.arange(37) / 36))
    coarse = ablation(model, source, images=12, baselines=8, steps=4, points=10)
    assert coarse.replaced.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]
    np.testing.assert_allclose(coarse.ratio, one.ratio[:, ::4], rtol=1e-5)


def test_too_few_images_are_told():
    with pytest.raises(SpecificationError, match="asked for, and"):
        ablation(linear(), noise(20), images=4, baselines=100)
    with pytest.raises(SpecificationError, match="two at least of each"):
        ablation(linear(), noise(20), images=1)


# --- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from validation.training.loop import train
    from validation.training.recipes import LAPTOP

    pytest.importorskip("sklearn")
    pytest.importorskip("safetensors")
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(LAPTOP.changed(data="digits", size=8, epochs=1), folder, device="cpu")
    return folder


def test_a_finished_run_is_evaluated_as_it_was_scored(run, capsys):
    import json

    from validation.__main__ import main
    from validation.evaluation.command import trained
    from validation.evaluation.tables import collect
    from validation.training.scores import score

    pytest.importorskip("captum")
    (result,) = collect([run])
    model, data = trained(result)
    scores = score(model, data.test)
    assert scores.row() == {name: result.content["scores"][name] for name in scores.row()}
    out = run.parent / "evaluated"
    arguments = ["evaluate", str(run), "--location", "--ablation", "--reach", "2", "--stride", "1", "--images", "4"]
    assert main([*arguments, "--baselines", "4", "--steps", "4", "--points", "9", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"][0]["Top-1 in place"] == [pytest.approx(scores.top1)]
    assert {path.split("evaluated")[-1] for path in told["files"]} == {".md", "-location.png", "-ablation.png"}
    assert "| no penalty | 1 |" in out.with_name("evaluated.md").read_text()


def test_a_run_on_other_data_or_without_weights_is_refused(run, tmp_path):
    import shutil

    from validation.evaluation.command import trained
    from validation.evaluation.tables import collect

    other = shutil.copytree(run, tmp_path / "other")
    for path in other.glob("step-*"):
        path.unlink()
    (result,) = collect([other])
    with pytest.raises(SpecificationError, match="has no checkpoint"):
        trained(result)
    result.content["data"] = "another hash"
    with pytest.raises(SpecificationError, match="was trained on other data"):
        trained(result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "nothing was asked for"), (["--location", "--reach", "3", "--stride", "2"], "the stride divides the reach")],
)
def test_a_request_that_cannot_be_met_says_why(run, arguments, words, capsys):
    from validation.__main__ import main

    assert main(["evaluate", str(run), *arguments]) == 2
    assert words in capsys.readouterr().err

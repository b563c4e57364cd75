"""The trials behind docs/trials.json measure what they say: scenes, networks without a dark place, noise of one size."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.laptop.noise import blurred
from experiments.laptop.text import lowered
from experiments.trials.augmentation import _rolled, invariant, moves_nothing
from experiments.trials.confounders import ALIKE, pairs
from experiments.trials.networks import NETWORKS, brightness, fresh, places
from experiments.trials.places import shuffled
from experiments.trials.scenes import CANVAS, NOISE, TILE, TILES, Digits, digits, scenes
from experiments.trials.training import SEEDS, Labelled, trained

pytest.importorskip("sklearn")
ROOT = Path(__file__).parents[2]


def test_digits_stand_where_they_were_placed():
    _, test = digits()
    where = [TILES[i % len(TILES)] for i in range(len(test))]
    images = scenes([(test.pixels, where)], torch.Generator().manual_seed(0))
    canvas = scenes([(0 * test.pixels, where)], torch.Generator().manual_seed(0))
    assert canvas.std().item() == pytest.approx(NOISE, rel=0.01)
    for image, empty, pixels, (row, column) in zip(images, canvas, test.pixels, where, strict=True):
        added = image[0] - empty[0]
        torch.testing.assert_close(added[row : row + TILE, column : column + TILE], pixels, atol=1e-5, rtol=0)
        assert added.abs().sum().item() == pytest.approx(pixels.abs().sum().item(), rel=1e-4)


def test_no_tile_of_the_circular_network_differs_from_another():
    """By prediction and by what it answers: an image moved by 8 pixels around the border changes nothing."""
    found = brightness("circular")
    assert max(found.values()) == pytest.approx(min(found.values()), rel=1e-9)
    spots = places("resnet")
    assert brightness("resnet")[spots["bright"]] > 4 * brightness("resnet")[spots["dark"]]
    image = torch.randn(2, 1, CANVAS, CANVAS, generator=torch.Generator().manual_seed(0))
    apart = {}
    for name in ("circular", "resnet"):
        model = fresh(name, 0).eval()
        with torch.no_grad():
            one, other = model(image), model(image.roll((TILE, 2 * TILE), dims=(2, 3)))
        apart[name] = float((one - other).abs().max() / one.abs().max())
    assert apart["circular"] < 1e-5 < 1e-2 < apart["resnet"]


def test_the_circular_network_has_the_weights_of_the_resnet():
    one, other = fresh("resnet", 3).state_dict(), fresh("circular", 3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_second_digit_tells_the_class_in_training_only():
    train, _ = digits()
    spots = places("unpadded")
    for alike, expected in ((ALIKE, ALIKE + (1 - ALIKE) / 10), (0.0, 0.1)):
        shown, others = pairs(train, (spots["bright"], spots["dark"]), alike, 0)
        share = float((others == shown.labels).double().mean())
        assert abs(share - expected) < 5 * (0.25 / len(train)) ** 0.5
    assert torch.equal(shown.labels, train.labels)


def test_no_translation_around_the_border_changes_the_invariant_network():
    assert moves_nothing(0) < 1e-5
    model, image = invariant(0).train(), torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    gradients = []
    for images in (image, _rolled(image, torch.Generator().manual_seed(2))):
        model.zero_grad()
        model(images).logsumexp(1).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_shuffling_blocks_that_a_network_does_not_read_changes_no_loss():
    class Corner(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0, 0, 0], -x[:, 0, 0, 0]], dim=1)

    generator = torch.Generator().manual_seed(0)
    test = Labelled(torch.randn(50, 1, CANVAS, CANVAS, generator=generator), torch.randint(2, (50,), generator=generator))
    impact = shuffled(Corner(), test)
    assert impact[0] > 0
    assert not impact[1:].any()


def test_runs_of_one_seed_see_the_same_order_and_repeat_bit_for_bit():
    _, test = digits()
    few = Digits(test.pixels[:64], test.labels[:64])
    shown = Labelled(scenes([(few.pixels, [(8, 8)] * 64)], torch.Generator().manual_seed(0)), few.labels)
    curves = [trained(fresh("unpadded", 0), shown, {"test": shown}, 0, steps=60) for _ in range(2)]
    assert curves[0] == curves[1]
    assert len(curves[0].top1["test"]) == 2
    assert set(NETWORKS) == {"resnet", "unpadded", "circular"}


def test_blurred_noise_has_the_variance_of_white_noise():
    white = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth = blurred(white)
    assert smooth.std().item() == pytest.approx(1, abs=0.03)
    beside = {
        name: float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())
        for name, noise in (("white", white), ("smooth", smooth))
    }
    assert abs(beside["white"]) < 0.02
    assert beside["smooth"] == pytest.approx(56 / 70, abs=0.02)  # (1 4 6 4 1) with itself, moved by one and not


def test_the_pages_parts_keep_their_text_and_lower_their_headings():
    content = json.loads((ROOT / "docs/laptop.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/laptop.md").read_text(encoding="utf-8")
    assert all(part["text"] in page for part in content.values())
    assert lowered("# One\ntext # no\n## Two", 2) == "### One\ntext # no\n#### Two"


def test_the_committed_trials_have_an_interval_around_every_mean():
    content = json.loads((ROOT / "docs/trials.json").read_text(encoding="utf-8"))
    assert all(part["seeds"] == len(SEEDS) for part in content.values())
    for name in NETWORKS:
        for key, value in content["places"][name].items():
            if " less " in key:
                mean, low, high = value
                assert low < mean < high
                assert np.isfinite(value).all()

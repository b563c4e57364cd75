"""Location and ablation, against networks whose answers are known."""

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import nn

from lattice import SpecificationError
from validation.datasets.dataset import Arrays
from validation.evaluation.measures.ablation import ablation, ablation_curve, relevance
from validation.evaluation.measures.location import corners, correlation, exposure, location_sensitivity, variance_map
from validation.evaluation.measures.shifts import shift_consistency, shifted, translated


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


@pytest.mark.parametrize("shifts", [(-2, 2), (0, 0), (2, 0), (0, 2), (-9, 0, 9)])
def test_shifts_that_make_no_sense_are_refused(shifts):
    with pytest.raises(SpecificationError, match="shifts is"):
        location_sensitivity(TopLeft(), points(), shifts)


def test_shifting_each_image_by_its_own_shift_is_translating_it():
    images = torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    shifts = [(0, 0), (2, -3), (-4, 4)]
    for image, one, shift in zip(images, shifted(images, torch.tensor(shifts)), shifts, strict=True):
        assert torch.equal(one, translated(image, *shift))


def test_shift_consistency_is_the_chance_that_two_random_shifts_agree():
    # of the 5 x 5 shifts up to 2 pixels TopLeft sees the bright pixel (2, 2) under one: p = 1/25, and two agree with
    # p^2 + (1 - p)^2; of images without a bright pixel they always do
    found = shift_consistency(TopLeft(), points(), most=2, pairs=600, seed=3)
    p = 1 / 25
    expected = p**2 + (1 - p) ** 2
    assert found.agreed[:5].all()
    assert abs(found.agreed[5:].mean() - expected) < 5 * (expected * (1 - expected) / 3000) ** 0.5
    again = shift_consistency(TopLeft(), points(), most=2, pairs=600, seed=3, images=range(5, 10), chunk=2)
    np.testing.assert_array_equal(found.agreed[5:], again.agreed)
    other = shift_consistency(TopLeft(), points(), most=2, pairs=600, seed=4)
    assert (other.agreed != found.agreed).any()
    per_image = found.agreed.mean(axis=1)
    assert found.rate == pytest.approx((per_image.mean(), per_image.std(ddof=1) / 10**0.5))


@pytest.mark.parametrize(("most", "pairs"), [(0, 1), (8, 1), (2, 0)])
def test_shifts_beyond_the_image_are_refused(most, pairs):
    with pytest.raises(SpecificationError, match="shifts up to"):
        shift_consistency(TopLeft(), points(), most=most, pairs=pairs)


def test_the_exposure_of_a_moved_point_is_the_importance_under_it():
    importance = np.random.default_rng(0).random((8, 8))
    variance = variance_map(points())
    assert np.flatnonzero(variance).tolist() == [2 * 8 + 2]
    assert variance[2, 2] == pytest.approx(255**2 / 4)
    found = exposure(importance, variance, (-1, 0, 1))
    np.testing.assert_allclose(found, importance[1:4, 1:4])
    assert correlation(found, 3 * found + 1) == pytest.approx(1)
    assert np.isnan(correlation(found, np.ones((3, 3))))


def test_a_feature_belongs_to_the_corner_that_it_sits_in():
    pixels = torch.full((5, 1, 16, 16), 7, dtype=torch.uint8)
    for image, (row, column) in zip(pixels, ((1, 1), (1, 12), (12, 1), (12, 12), (7, 7)), strict=True):
        image[0, row : row + 3, column : column + 3] = 200
    source = Arrays(pixels, torch.zeros(5, dtype=torch.int64), (0.0,), (1.0,))
    assert corners(source).tolist() == [0, 1, 2, 3, -1]


# --- ablation


def linear(seed=0, size=6, classes=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes))


def test_integrated_gradients_of_a_linear_net_are_weight_times_distance():
    """Integrated gradients of a linear network are weight times distance from the mean baseline."""
    pytest.importorskip("captum")
    model, source = linear(), noise()
    image, baselines = source.batch(torch.tensor([0]))[0], source.batch(torch.arange(1, 9))
    found = relevance(model, image, 1, baselines, steps=4)
    weight = model[1].weight[1].reshape(6, 6)
    torch.testing.assert_close(found.float(), (weight * (image[0] - baselines.mean(dim=0)[0])).detach(), rtol=1e-4, atol=1e-5)


class Bent(nn.Module):
    """A network that is not linear, and counts the images that exist at once."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(36, 8), nn.Linear(8, 2)
        self.most = 0

    def forward(self, x):
        self.most = max(self.most, len(x))
        return self.last(torch.tanh(self.first(x.flatten(1))))


def test_integrated_gradients_are_the_integral_written_out():
    pytest.importorskip("captum")
    model, source = Bent(), noise()
    image, baselines = source.batch(torch.tensor([0]))[0], source.batch(torch.arange(1, 9))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    total = torch.zeros(6, 6, dtype=torch.float64)
    for baseline in baselines:
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            x = (baseline + float(node) * (image - baseline)).requires_grad_()
            (gradient,) = torch.autograd.grad(model(x[None])[0, 1], x)
            total += float(weight) * (gradient * (image - baseline)).double().sum(dim=0)
    torch.testing.assert_close(relevance(model, image, 1, baselines, steps=12), total / 8, rtol=1e-4, atol=1e-6)


def test_no_more_images_than_a_chunk_exist_at_once():
    pytest.importorskip("captum")
    model, source = Bent(), noise(300)
    image, baselines = source.batch(torch.tensor([0]))[0], source.batch(torch.arange(1, 300))
    small = relevance(model, image, 1, baselines, steps=8, chunk=64)
    assert model.most <= 64
    torch.testing.assert_close(small, relevance(model, image, 1, baselines, steps=8, chunk=5000), rtol=1e-4, atol=1e-7)
    assert model.most > 2000


def test_the_curve_replaces_the_first_k_pixels_by_the_images_mean():
    model, source = linear(), noise()
    image = source.batch(torch.tensor([3]))[0]
    order = torch.randperm(36, generator=torch.Generator().manual_seed(2))
    found = ablation_curve(model, image, 1, order, range(37), chunk=5)
    for count in (0, 1, 7, 36):
        changed = image.clone().flatten()
        changed[order[:count]] = image.mean()
        p = model(torch.stack([image, changed.reshape(1, 6, 6)])).double().softmax(1)[:, 1]
        assert found[count].item() == pytest.approx((p[1] / p[0]).item(), rel=1e-6)


def test_ablation_is_deterministic_and_relevant_pixels_go_first():
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
    assert area == pytest.approx(integrate.trapezoid(one.curve, np.arange(37) / 36))
    coarse = ablation(model, source, images=12, baselines=8, steps=4, points=10)
    assert coarse.replaced.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]
    np.testing.assert_allclose(coarse.ratio, one.ratio[:, ::4], rtol=1e-5)


def test_too_few_images_are_told():
    with pytest.raises(SpecificationError, match="4 and 16 were found"):
        ablation(linear(), noise(20), images=4, baselines=100)
    with pytest.raises(SpecificationError, match="two of each other at least"):
        ablation(linear(), noise(20), images=1)

"""The published scripts, written anew here from their descriptions, on the same gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from validation import effective_receptive_field
from validation.fields.numbers import area_ratio, gaussian_fit, luo_side, phase_contrast, published_area_ratio

THRESHOLDS = (0.2, 0.3, 0.5, 0.99)


def scores(model, images):
    """The mean over images of the rectified gradient of the rectified centre unit, image by image."""
    total = np.zeros(images.shape[2:])
    for image in images:
        x = image[None].clone().requires_grad_(True)
        features = model(x)
        height, width = features.shape[2:]
        torch.relu(features[0, :, height // 2, width // 2]).sum().backward()
        total += torch.relu(x.grad)[0].sum(dim=0).double().numpy()
    return total / len(images)


def rectangle(scores, share):
    """Grow a centred square ring by ring until it holds more than the share; (side, area) or None."""
    logs = np.log10(scores + 1)
    logs = logs / logs.max()
    rows, columns = logs.shape
    reach = 1
    while reach < rows // 2:
        inside = sum(
            logs[i, j]
            for i in range(rows // 2 - reach, rows // 2 + reach + 1)
            for j in range(columns // 2 - reach, columns // 2 + reach + 1)
        )
        if inside / logs.sum() > share:
            side = 2 * reach + 1
            return side, (side / rows) * (side / columns)
        reach += 1
    return None


def network(scale=1.0):
    torch.manual_seed(1)
    layers = []
    for position in range(4):
        layers += [nn.Conv2d(6 if position else 3, 6, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        model[0].weight *= scale
    return model


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_area_ratio_is_that_of_the_published_script(scale):
    model, images = network(scale), torch.randn(6, 3, 24, 24)
    field = effective_receptive_field(model, images, statistic="rectified", batch_size=4)
    theirs = scores(model.eval(), images)
    assert np.allclose(field.mean, theirs, rtol=1e-5, atol=1e-7 * theirs.max())  # float32, batches of 4 and of 1
    for share in THRESHOLDS:
        found = field.area_ratio(share, "script")
        expected = rectangle(theirs, share)
        assert expected is not None
        assert abs(found.value - expected[1]) < 1e-6
        assert published_area_ratio(field.mean, share)[0] == expected[0]


def test_the_published_ratio_depends_on_the_scale_ours_does_not():
    """The published ratio depends on the scale of the gradients and the free one does not."""
    images = torch.randn(4, 3, 24, 24)
    fields = [effective_receptive_field(network(), images, statistic="absolute")]
    big = 1e5 * fields[0].mean
    assert published_area_ratio(big, 0.5)[1] > 1.5 * published_area_ratio(fields[0].mean, 0.5)[1]
    assert np.isclose(area_ratio(big, 0.5), area_ratio(fields[0].mean, 0.5), rtol=1e-12)


def test_the_ratio_can_rank_two_networks_the_other_way():
    """A narrow field with large gradients is called larger than a wide one with small gradients."""
    x = np.arange(41) - 20.0
    squares = x[:, None] ** 2 + x[None] ** 2
    narrow, wide = 1e6 * np.exp(-squares / (2 * 3.0**2)), np.exp(-squares / (2 * 5.0**2))
    assert area_ratio(narrow, 0.5, (20, 20)) < area_ratio(wide, 0.5, (20, 20))
    assert published_area_ratio(narrow, 0.5)[1] > published_area_ratio(wide, 0.5)[1]


def test_text_and_script_differ_by_the_number_of_images():
    model, images = network(30.0), torch.randn(6, 3, 24, 24)
    field = effective_receptive_field(model, images, statistic="positive")
    assert field.area_ratio(0.5, "text").value == rectangle(6 * field.mean, 0.5)[1]
    assert field.area_ratio(0.5, "script").value == rectangle(field.mean, 0.5)[1]


def test_where_no_square_is_large_enough_there_is_no_ratio():
    flat = np.ones((10, 10))  # the largest square that is tried has side 9
    assert rectangle(flat, 0.99) is None
    assert published_area_ratio(flat, 0.99) is None


def test_the_side_by_luo_counts_pixels_above_a_share_of_the_centre():
    values = np.zeros((9, 9))
    values[4, 4], values[3:6, 5], values[0, 0] = 1.0, 0.05, 0.045
    assert luo_side(values, (4, 4)) == 2.0  # four pixels


def test_the_gaussian_of_a_gaussian_is_itself_and_noise_widens_the_misfit():
    x = np.arange(31)
    values = np.exp(-((x[:, None] - 14.3) ** 2) / (2 * 2.5**2) - ((x[None] - 16.1) ** 2) / (2 * 4.0**2))
    fit = gaussian_fit(values)
    assert np.allclose([*fit.centre, *fit.sigma], [14.3, 16.1, 2.5, 4.0], rtol=1e-4)
    assert fit.residual < 1e-4
    assert np.allclose(fit.values(values.shape), values, atol=1e-4)
    box = np.zeros((31, 31))
    box[10:21, 10:21] = 1
    assert 0.2 < gaussian_fit(box).residual < 0.5


def test_gridding_is_of_the_phases():
    assert phase_contrast(np.tile([1.0, 0.0], 20), 2) == 1.0
    assert phase_contrast(np.ones(40), 4) == 0.0

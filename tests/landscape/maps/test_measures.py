"""The numbers of a report, on maps whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from landscape import predict, rademacher
from landscape.maps.measures import report
from landscape.maps.numbers import (
    centre_bias,
    effective_area,
    flip_asymmetry,
    gridding,
    importance,
    laplacian_energy,
    relative,
    total_variation,
)
from lattice import Conv, Lattice, SpecificationError, families

maps = arrays(float, array_shapes(min_dims=1, max_dims=3, min_side=3, max_side=8), elements=st.floats(0.01, 100))


@given(maps)
def test_equation_14_has_mean_square_one_and_mean_at_most_one(squared):
    scaled = importance(squared)
    assert np.mean(scaled**2) == pytest.approx(1)
    assert scaled.mean() <= 1 + 1e-12
    assert relative(squared).mean() == pytest.approx(1)


@given(maps, st.floats(1e-6, 1e6))
def test_a_report_does_not_depend_on_the_scale(squared, scale):
    one, other = report(squared, [2]), report(squared * scale, [2])
    assert str(one) == str(other) or one.total_variation == pytest.approx(other.total_variation)
    assert one.centre_bias == pytest.approx(other.centre_bias)
    assert one.flip_asymmetry == pytest.approx(other.flip_asymmetry)


def test_a_flat_map_has_nothing_wrong_with_it():
    flat = report(np.ones((16, 12)), [2])
    assert (flat.centre_bias, flat.total_variation, flat.laplacian_energy) == (1, 0, 0)
    assert flat.flip_asymmetry == (0, 0)
    assert flat.gridding == {2: 0}
    assert flat.effective_area == pytest.approx({0.5: 0.5, 0.9: 0.9, 0.99: 0.99}, abs=0.01)


def test_total_variation_is_the_mean_squared_step():
    squared = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert total_variation(squared) == pytest.approx(1 / 2.5)


def test_laplacian_energy_is_the_variance_of_the_five_point_stencil():
    squared = np.random.default_rng(0).random((6, 7))
    scaled = importance(squared)
    stencil = [
        [scaled[r - 1, c] + scaled[r + 1, c] + scaled[r, c - 1] + scaled[r, c + 1] - 4 * scaled[r, c] for c in range(1, 6)]
        for r in range(1, 5)
    ]
    assert laplacian_energy(squared) == pytest.approx(np.var(stencil))


def test_gridding_sees_a_grid_and_not_a_slope():
    slope = np.linspace(1, 3, 64)[:, None] * np.linspace(2, 1, 64)
    grid = np.where(np.arange(64) % 4 == 1, 1.2, 1.0)
    assert gridding(slope, 4) < 0.005
    assert gridding(slope * grid[:, None], 4) == pytest.approx(np.std([1, 1.2, 1, 1]) / 1.05, rel=0.02)
    with pytest.raises(SpecificationError, match="does not fit"):
        gridding(np.ones(3), 4)


def test_flip_asymmetry_and_centre_bias_of_known_maps():
    assert flip_asymmetry(np.array([[0.0, 2.0], [0.0, 2.0]])) == (0, 1)
    assert centre_bias(np.array([0.0, 1.0, 1.0, 0.0])) == float("inf")
    assert effective_area(np.array([8.0, 1.0, 1.0]), 0.8) == pytest.approx(1 / 3)


def test_kernel_3_stride_2_grids_at_its_period_and_2_2_does_not():
    def land(kernel):
        return predict(Lattice.chain((1, 65), [Conv(1, kernel, 2)]), initialisation=rademacher).report().gridding[2]

    assert land(3) > 0.3
    assert land(2) < 0.01


def test_blind_spots_are_pixels_that_no_path_reaches():
    land = predict(Lattice.chain((1, 10), [Conv(1, 1, 3)]), initialisation=rademacher)
    assert land.report().unreachable == pytest.approx(0.6)


def test_uneven_padding_makes_the_map_asymmetric():
    uneven, even = (predict(families.resnet((3, n, n)), initialisation=0.01).report() for n in (64, 65))
    assert min(uneven.flip_asymmetry) > 0.25
    assert max(even.flip_asymmetry) < 1e-12


def test_a_map_without_paths_has_no_shape():
    with pytest.raises(SpecificationError, match="no path reaches the input"):
        relative(np.zeros(4))


# --- brute force -------------------------------------------------------------------------------------------------------------


def random_map(*shape):
    return np.random.default_rng(0).random(shape) + 0.1


@pytest.mark.parametrize("shape", [(7,), (5, 8), (3, 4, 6), (1, 5), (1, 1), (2,)])
def test_total_variation_is_over_all_neighbours_of_all_axes(shape):
    scaled = importance(random_map(*shape))
    steps = [
        (scaled[place] - scaled[(*place[:axis], place[axis] + 1, *place[axis + 1 :])]) ** 2
        for place in np.ndindex(*shape)
        for axis in range(len(shape))
        if place[axis] + 1 < shape[axis]
    ]
    assert total_variation(random_map(*shape)) == pytest.approx(np.mean(steps) if steps else 0)


@pytest.mark.parametrize("shape", [(7,), (3,), (5, 8), (3, 4, 6)])
def test_laplacian_energy_is_that_of_scipys_laplacian_inside(shape):
    inner = ndimage.laplace(importance(random_map(*shape)))[tuple(slice(1, -1) for _ in shape)]
    assert laplacian_energy(random_map(*shape)) == pytest.approx(np.var(inner), abs=1e-15)
    assert np.isnan(laplacian_energy(random_map(*shape, 2)))


@pytest.mark.parametrize("shape", [(4,), (5,), (7, 10), (2, 9), (8, 3, 6)])
def test_centre_bias_is_the_middle_half_against_the_rest(shape):
    values = random_map(*shape)
    inside = [all(n // 4 <= i < n - n // 4 for i, n in zip(place, shape, strict=True)) for place in np.ndindex(*shape)]
    rows = values.ravel()
    assert centre_bias(values) == pytest.approx(rows[inside].mean() / rows[np.logical_not(inside)].mean())
    assert centre_bias(random_map(3, 2)) == 1  # all of it is the middle


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_effective_area_is_the_least_number_of_pixels_that_hold_the_share(share):
    values = random_map(5, 6)
    values[0] = 0
    ordered = sorted(values.ravel(), reverse=True)
    least = next(k for k in range(1, 31) if sum(ordered[:k]) >= share * sum(ordered) * (1 - 1e-12))
    assert effective_area(values, share) == least / 30
    assert effective_area(np.ones((5, 6)), share) == pytest.approx(share)
    assert effective_area(values) == effective_area(values, 0.9)
    for wrong in (0, -0.5, 1.01, "half"):
        with pytest.raises(SpecificationError, match="share is"):
            effective_area(values, wrong)


@pytest.mark.parametrize("shape", [(9, 8), (6,), (3, 4, 5)])
def test_flip_asymmetry_is_half_of_what_differs_from_the_mirror_image(shape):
    values = random_map(*shape) / random_map(*shape).mean()
    for axis, found in enumerate(flip_asymmetry(3 * values)):
        differences = [
            values[place] - values[(*place[:axis], shape[axis] - 1 - place[axis], *place[axis + 1 :])]
            for place in np.ndindex(*shape)
        ]
        assert found == pytest.approx(np.sqrt(np.mean(np.square(differences))) / 2)


@pytest.mark.parametrize("period", [1, 2, 3, 4, 6])
def test_gridding_of_a_tiled_pattern_is_the_spread_of_its_phases(period):
    pattern = 1 + 0.3 * np.random.default_rng(period).random((period, period))
    tiled = np.tile(pattern, (240 // period, 300 // period))
    rest = np.vstack([tiled, tiled[: period - 1]])  # a part of a period more, which is left out
    for values in (tiled, rest):
        assert gridding(values, period) == pytest.approx(pattern.std() / pattern.mean(), rel=0.02, abs=1e-9)
    mirrored = np.flip(np.random.default_rng(0).random((24, 36)))
    if period % 2 == 0:
        assert gridding(mirrored, period) == pytest.approx(gridding(np.flip(mirrored), period))


def test_gridding_takes_periods_up_to_the_size_of_the_map_only():
    assert gridding(random_map(4, 6), 4) > 0
    for wrong in (5, 0, -1, 1.5, "2"):
        with pytest.raises(SpecificationError, match="does not fit"):
            gridding(random_map(4, 6), wrong)


def test_where_nothing_is_there_is_no_grid():
    values = np.ones(40)
    values[20:] = 0
    assert gridding(values, 4) < 0.1


def test_a_report_seeks_grids_that_fit_four_times_and_faint_pixels():
    values = np.ones((16, 12))
    values[0, :4] = 0
    values[1, :6] = 0.005
    values[2, :3] = 0.02
    found = report(values, [1, 2, 3, 4, 5])
    assert set(found.gridding) == {2, 3}
    assert found.gridding[2] == gridding(values, 2)
    assert found.unreachable == pytest.approx(4 / 192)
    assert found.faint == pytest.approx(10 / 192)
    assert set(found.effective_area) == {0.5, 0.9, 0.99}
    assert report(values).gridding == {}
    assert "no stride" in str(report(values))

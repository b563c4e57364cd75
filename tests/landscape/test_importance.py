"""The numbers of a report, on maps whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from landscape import predict, rademacher
from landscape.importance import (
    centre_bias,
    effective_area,
    flip_asymmetry,
    gridding,
    importance,
    laplacian_energy,
    relative,
    report,
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

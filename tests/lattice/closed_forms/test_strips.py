"""Padded strips: the spectral form, the reflection form and the paths of the lattice are equal."""

from math import pi

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lattice import (
    Conv,
    Lattice,
    families,
    path_counts,
)
from lattice.closed_forms.strips import perron_depth, perron_vector, strip_counts_reflection, strip_counts_spectral


@given(st.integers(1, 14), st.integers(0, 40), st.data())
def test_spectral_form_reflection_form_and_paths_are_equal(width, depth, data):
    output = data.draw(st.none() | st.integers(0, width - 1))
    net = families.plain(width, depth, padding=1) if depth else Lattice.chain((1, width), [Conv(1, 1)])
    counts = path_counts(net, None if output is None else (output,))
    assert (strip_counts_reflection(width, depth, output) == counts).all()
    assert (strip_counts_spectral(width, depth, output) == counts).all()


def test_the_two_forms_are_equal_far_beyond_float64():
    assert (strip_counts_spectral(60, 3000, 7) == strip_counts_reflection(60, 3000, 7)).all()
    assert all(type(count) is int for count in strip_counts_spectral(4, 3))


@given(st.integers(1, 12), st.sampled_from([0.3, 0.01, 1e-4]))
def test_from_the_perron_depth_on_the_counts_are_half_a_sine_wave(width, tolerance):
    depth = perron_depth(width, tolerance)
    sine = perron_vector(width)
    leading = 1 + 2 * np.cos(pi / (width + 1))
    for output in range(width):
        first = 2 / (width + 1) * sine * sine[output] * leading**depth
        counts = strip_counts_reflection(width, depth, output).astype(float)
        assert np.abs(counts / first - 1).max() <= tolerance * (1 + 1e-9)


def test_no_depth_is_needed_for_a_tolerance_of_all_modes_together():
    assert [perron_depth(3, tolerance) for tolerance in (13.1, 13, 12.9)] == [0, 0, 1]  # 2^2 + 3^2


def test_the_perron_depth_is_not_far_too_deep():
    """The bound is sharp: from an edge, at half that depth, the counts are not half a sine wave yet."""
    for width in (5, 12, 30):
        depth = perron_depth(width, 0.01) // 2
        counts = strip_counts_reflection(width, depth, 0).astype(float)
        sine = perron_vector(width)
        first = 2 / (width + 1) * sine * sine[0] * (1 + 2 * np.cos(pi / (width + 1))) ** depth
        assert np.abs(counts / first - 1).max() > 0.01

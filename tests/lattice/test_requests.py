"""Requests for closed forms that are too large or make no sense are refused, with the cheaper call."""

import pytest

from lattice import (
    ResourceError,
    SpecificationError,
    families,
)
from lattice.closed_forms.limits import gaussian_limit, offset_cumulant
from lattice.closed_forms.pascal import pascal_coefficient, pascal_row, residual_row, stern, stern_period
from lattice.closed_forms.strips import perron_depth, strip_counts_reflection, strip_counts_spectral


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pascal_row(3, 10**6),
            r"pascal_row\(3, 1000000\) has 2000001 entries .*GiB.*pascal_coefficient\(3, 1000000, n\)",
        ),
        (lambda: residual_row(5, 10**6), "GiB.*log_path_counts"),
        (lambda: pascal_coefficient(3, 10**8, 10**8), "bits.*gaussian_limit"),
        (lambda: strip_counts_spectral(10**5, 10**4), "strip_counts_reflection"),
        (lambda: strip_counts_reflection(5, 10**6), "GiB"),
        (lambda: stern_period(60), r"2\^60 entries.*stern_maximum\(60\)"),
    ],
)
def test_huge_requests_are_estimated_and_name_the_cheaper_call(call, message):
    with pytest.raises(ResourceError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pascal_row(0, 3), "kernel is 0; it is a whole number, at least 1"),
        (lambda: pascal_row(3, -1), "depth is -1"),
        (lambda: pascal_row(3, 2.0), r"depth is 2\.0"),
        (lambda: residual_row(4, 2), "even kernel has no centre"),
        (lambda: strip_counts_reflection(4, 2, 4), "outputs 0 to 3"),
        (lambda: perron_depth(4, 0.0), "positive"),
        (lambda: stern(-1), "n is -1"),
        (lambda: offset_cumulant(families.plain(9, 2), 0), "order is 0"),
        (lambda: gaussian_limit(families.plain(9, 2), (0,), 3), "order is 3"),
    ],
)
def test_requests_that_make_no_sense_say_so(call, message):
    with pytest.raises(SpecificationError, match=message):
        call()

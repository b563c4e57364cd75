"""What a count will cost is estimated before it runs, and long integers print by their size."""

import pytest

from lattice import ResourceError, families, path_counts
from lattice.counts.cost import MOST_BYTES, MOST_SECONDS, estimate, show_count


@pytest.mark.parametrize(
    "net", [families.bottleneck_resnet(), families.vgg(), families.plain(300, 200, padding=1), families.plain((30, 40), 10)]
)
def test_the_estimated_bits_are_those_of_the_counts(net):
    assert estimate(net).bits == pytest.approx(int(path_counts(net).max()).bit_length(), rel=0.05, abs=2)


def test_ordinary_requests_are_far_from_the_limits():
    size = estimate(families.bottleneck_resnet((3, 1024, 1024)))
    assert size.bytes < MOST_BYTES / 10
    assert size.seconds < MOST_SECONDS / 100


@pytest.mark.parametrize(("size", "depth"), [((10**5, 10**5), 3), ((10**4, 10**4), 3000), (10**9, 2)])
def test_an_absurd_request_is_refused_before_it_runs(size, depth):
    net = families.plain(size, depth, padding=1)
    with pytest.raises(ResourceError, match=rf"path_counts of {depth} layers over .* at least .* log_path_counts"):
        path_counts(net)


def test_one_unit_of_absurdly_many_channels_is_refused():
    with pytest.raises(ResourceError, match="path_counts of 1 layers"):
        path_counts(families.plain(1000, 1, channels=2**40), output=(0,))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-12, "-12"),
        (10**4300 - 1, "9" * 4300),
        (10**4300, "~1.0e4300 (exact, 4301 digits)"),
        (996 * 10**5000, "~1.0e5003 (exact, 5003 digits)"),
        (-32 * 10**5209, "~-3.2e5210 (exact, 5211 digits)"),
        (2**400001, "~2.0e120412 (exact, 120413 digits)"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "number",
)
def test_long_integers_print_by_their_size(number, text):
    assert show_count(number) == text

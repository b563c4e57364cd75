"""Counts by the plain sweep over arrays of Python ints, which shares no shortcut with the fast ones."""

from lattice import pull_back


def in_objects(net, cotangent):
    return pull_back(net, lambda node: 1, cotangent)


def assert_same_ints(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == object
    assert all(type(number) is int for number in found.ravel())
    assert (found == expected).all()

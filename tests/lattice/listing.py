"""Lattices small enough to list their paths one by one."""

from hypothesis import strategies as st

from lattice import Unit


def some_unit(draw, shape):
    return Unit(tuple(draw(st.integers(0, n - 1)) for n in shape[1:]), draw(st.integers(0, shape[0] - 1)))

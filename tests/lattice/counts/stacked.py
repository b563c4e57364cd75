"""Stacks of layers, and whether every order of their commands leads to one place."""

from hypothesis import assume
from hypothesis import strategies as st

from lattice import (
    Conv,
    Lattice,
    SpecificationError,
)


@st.composite
def stacks(draw, axes=1, most_channels=1):
    """Two or three convolutions that are equal, or nearly so: both sides of the line between regular and not."""
    depth = draw(st.integers(2, 3))
    base = {"kernel": draw(st.integers(1, 3)), "stride": 1, "dilation": draw(st.integers(1, 2)), "padding": 0}
    base["padding"] = draw(st.sampled_from([0, 0, 0, (1, 1), (0, 1), (2, 0)] if axes == 1 else [0, 0, 1]))
    mode = draw(st.sampled_from(["zeros", "circular", "replicate", "reflect"]))
    layers = []
    for _ in range(depth):
        changed = dict(base)
        for name, values in {"kernel": (1, 2, 3), "stride": (1, 2), "dilation": (1, 2), "padding": (0, 1)}.items():
            if draw(st.integers(0, 5)) == 5:
                changed[name] = draw(st.sampled_from(values))
        groups = draw(st.sampled_from([1, 1, most_channels])) if most_channels > 1 else 1
        channels = draw(st.sampled_from([most_channels, most_channels, 1])) if groups == 1 else groups
        layers.append(Conv(channels, mode=mode, groups=groups, **changed))
    size = draw(st.integers(2, 12 if axes == 1 else 6))
    inside = next((n for n in range(size, 30) if _fits(n, axes, most_channels, layers)), None)
    assume(inside is not None)
    return Lattice.chain((most_channels, *(inside,) * axes), layers)


def _fits(n, axes, channels, layers):
    try:
        Lattice.chain((channels, *(n,) * axes), layers)
    except SpecificationError:
        return False
    return True

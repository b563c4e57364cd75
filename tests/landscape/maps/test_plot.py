"""Plots pass on what matplotlib knows, and refuse in words what it does not."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure

from landscape import predict
from landscape.maps.plot import plot_map
from lattice import Conv, Lattice, SpecificationError
from validation import compare, measure

NET = Lattice.chain((1, 8, 8), [Conv(2, 3, padding=1), Conv(2, 3, padding=1)])
LAND = predict(NET)
MEASURED = measure(NET, draws=25)
RESULTS = (LAND, MEASURED, compare(LAND, MEASURED))


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_colours_and_their_ends_are_those_that_were_asked_for(result):
    (image,) = result.plot(ax=Figure().subplots(), cmap="magma", vmin=-1, vmax=3).images
    assert (image.get_cmap().name, image.get_clim()) == ("magma", (-1, 3))
    norm = LogNorm(0.1, 2)
    assert result.plot(ax=Figure().subplots(), norm=norm).images[0].norm is norm


@pytest.mark.parametrize(
    "style", [{"cmap": "no such map"}, {"norm": LogNorm(), "vmin": 0}, {"nonsense": 1}], ids=lambda style: next(iter(style))
)
def test_what_matplotlib_does_not_take_is_refused(style):
    with pytest.raises(SpecificationError, match="matplotlib does not take this"):
        LAND.plot(ax=Figure().subplots(), **style)


def test_a_line_takes_a_colour_and_ends_and_no_colour_map():
    ax = plot_map(np.ones(5), Figure().subplots(), vmax=4, color="red")
    assert ax.get_ylim() == (0, 4)
    assert to_rgba(ax.lines[0].get_color()) == to_rgba("red")
    with pytest.raises(SpecificationError, match="drawn as a line"):
        plot_map(np.ones(5), Figure().subplots(), cmap="magma")

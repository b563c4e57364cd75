"""Maps and profiles as figures: functions of results that take `ax=` and return Axes. No computation happens here."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lattice import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

__all__ = [
    "axes_or_new",
    "chosen_layers",
    "draw_image",
    "draw_line",
    "middle",
    "plot_changes",
    "plot_layers",
    "plot_map",
    "plot_profile",
]

Array = np.ndarray[Any, Any]

MAP_COLOURS = "cividis"  # made for colour-blind readers, and monotone in grey


def plot_map(
    relative: Array, ax: "Axes | None" = None, *, title: str = "", label: str = "importance / mean", **style: Any
) -> "Axes":
    """A map over input positions: a line on one axis, an image on two, the middle slice on three.

    `label` says what the values are, of mean one by default; `style` is what `imshow` takes (the colours start at 0 unless it
    says otherwise), or, on one axis, what `plot` takes, with vmin and vmax as the ends of the axis.
    """
    ax = axes_or_new(ax)
    ax.set_title(title)
    if relative.ndim == 1:
        draw_line(ax, relative, {"vmin": 0, **style})
        ax.set(xlabel="input position", ylabel=label)
        return ax
    image = draw_image(ax, relative, style, vmin=0)
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04).set_label(label)
    return ax


def draw_image(ax: "Axes", values: Array, style: "Mapping[str, Any]", **ours: Any) -> Any:
    """`imshow` of a map, of the middle slice on three axes: with `ours` where `style` says nothing else.

    A given `norm` stands for the ends of the colours too, as matplotlib has it. A flat map stays in one colour: the top is the
    map's largest value, and the bottom not its smallest.
    """
    values = values[values.shape[0] // 2] if values.ndim == 3 else values
    defaults = {"cmap": MAP_COLOURS, "vmax": float(values.max()), **ours}
    if style.get("norm") is not None:
        defaults = {name: value for name, value in defaults.items() if name not in ("vmin", "vmax", "norm")}
    elif defaults.get("norm") is not None and {"vmin", "vmax"} & set(style):
        raise SpecificationError(
            "a logarithmic scale takes its ends from norm=, for example matplotlib.colors.LogNorm(1e-4, 1)"
        )
    elif defaults.get("norm") is not None:
        defaults = {name: value for name, value in defaults.items() if name not in ("vmin", "vmax")}
    return _drawn(lambda: ax.imshow(values, **{**defaults, **style}))


def draw_line(ax: "Axes", values: Array, style: "Mapping[str, Any]") -> None:
    """`plot` of a map on one axis, vmin and vmax as the ends of the vertical one; a line has no colour map."""
    colours = [name for name in ("cmap", "norm") if style.get(name) is not None]
    if colours:
        raise SpecificationError(f"{' and '.join(colours)}: a map on one axis is drawn as a line; it takes vmin, vmax, color")
    rest = {name: value for name, value in style.items() if name not in ("vmin", "vmax", "cmap", "norm")}
    _drawn(lambda: ax.plot(values, **{"color": "black", **rest}))
    ax.set_ylim(style.get("vmin"), style.get("vmax"))


def _drawn(draw: Any) -> Any:
    """What matplotlib draws; `SpecificationError` with its own words where it does not know what was asked for."""
    try:
        return draw()
    except (AttributeError, TypeError, ValueError) as error:
        raise SpecificationError(f"matplotlib does not take this: {error}") from error


def plot_changes(maps: "list[tuple[str, Array, str]]") -> Any:
    """Maps of mean one side by side on one scale, each with its text and the guarantee of its law; returns the Figure."""
    from textwrap import fill

    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(maps), 3.6), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False)
    most = max(float(relative.max()) for _, relative, _ in maps)
    for ax, (text, relative, guarantee) in zip(axes[0], maps, strict=True):
        plot_map(relative, ax, vmax=most)
        ax.set_title(f"{fill(text, 34)}\n{guarantee.lower().replace('_', ' ')}", fontsize=8)
    return figure


def plot_layers(layers: "Mapping[str, Array]", *, most: int = 8) -> Any:
    """How a map comes about: the maps of `Landscape.layers()` from the output down to the input, each with mean one.

    At most `most` of them, evenly spread over those whose map is not the one before it; returns the Figure.
    """
    from matplotlib.figure import Figure

    relative = chosen_layers(layers, most)
    chosen = list(relative)
    figure = Figure(figsize=(2.6 * len(chosen), 3), layout="constrained")
    axes = figure.subplots(1, len(chosen), squeeze=False)
    for ax, name in zip(axes[0], chosen, strict=True):
        plot_map(relative[name], ax)
        ax.set_title(f"{name}\n{' x '.join(map(str, relative[name].shape))}", fontsize=8)
        ax.set(xlabel="", ylabel="")
    return figure


def chosen_layers(layers: "Mapping[str, Array]", most: int) -> dict[str, Array]:
    """Maps of mean one, at most `most` of them, evenly spread over those whose map is not the one before it."""
    relative = {name: squared / squared.mean() for name, squared in layers.items() if squared.size > 1}
    names = list(relative)
    distinct = [
        name
        for before, name in zip([None, *names], names, strict=False)
        if before is None or name == names[-1] or not _same(relative[before], relative[name])
    ]
    chosen = (distinct[round(i)] for i in np.linspace(0, len(distinct) - 1, min(most, len(distinct))))
    return {name: relative[name] for name in chosen}


def _same(one: Array, other: Array) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-3))


def plot_profile(
    relative: Array, ax: "Axes | None" = None, *, label: str = "", error: Array | None = None, **style: Any
) -> "Axes":
    """The profile through the middle of a map along its last axis, with a band of two standard errors if given."""
    ax = axes_or_new(ax)
    profile = middle(relative)
    positions = np.arange(len(profile))
    (line,) = ax.plot(positions, profile, label=label, **style)
    if error is not None:
        band = 2 * middle(error)
        ax.fill_between(positions, profile - band, profile + band, color=line.get_color(), alpha=0.25, linewidth=0)
    where = "input position" if relative.ndim == 1 else "position along the middle"
    ax.set(xlabel=f"{where} (pixels)", ylabel="importance / mean")
    return ax


def middle(values: Array) -> Array:
    """The profile of a map through its middle, along its last axis."""
    return np.asarray(values[tuple(n // 2 for n in values.shape[:-1])])


def axes_or_new(ax: "Axes | None") -> "Axes":
    """The given Axes, or those of a new figure."""
    if ax is not None:
        if not hasattr(ax, "imshow"):
            raise SpecificationError(f"ax is {ax!r}; it is a matplotlib Axes, or None for a new one")
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots()[1]

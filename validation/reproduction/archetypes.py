"""Figure 1: the lattices of small one-dimensional networks, and how many paths lead to each of their inputs."""

from typing import Any

from lattice import Conv, Lattice, draw_lattice, families, path_counts, residual

__all__ = ["plot_archetypes"]


def plot_archetypes() -> tuple[Any, dict[str, list[int]]]:
    """Two layers of kernel 3 with one route (Figure 1a and 1b), three zero-padded layers, stride 2, and two residual blocks.

    Returns
    -------
    (matplotlib.figure.Figure, dict)
        The drawings, and by title the path counts of the inputs: from the middle output, or over all where there are several.
    """
    from matplotlib.figure import Figure

    nets = {
        "two layers of kernel 3": families.plain(5, depth=2),
        "three zero-padded layers": families.plain(9, depth=3, padding=1),
        "three layers of stride 2": families.plain(15, depth=3, stride=2),
        "two residual blocks": Lattice.chain((1, 7), [residual([Conv(1, kernel=3, padding=1)])] * 2),
    }
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    counts = {}
    for ax, (title, net) in zip(figure.subplots(2, 2).ravel(), nets.items(), strict=True):
        counts[title] = [int(value) for value in path_counts(net, channels=False).ravel()]
        single = net.output_shape[1] == 1
        draw_lattice(net, *([(0,)] if single else []), commands=[2, 0] if title == "two layers of kernel 3" else None, ax=ax)
        ax.set_title(f"{title}: {', '.join(map(str, counts[title]))} paths", fontsize=9)
    return figure, counts

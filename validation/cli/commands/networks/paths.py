"""`pilcro paths`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lattice
from lattice import Lattice, SpecificationError
from lattice.checks import whole

__all__ = ["Paths"]


MOST_DEPTH = 10_000  # a lattice has a node for every layer


@dataclass(frozen=True)
class Paths:
    """Count the paths of a chain of convolutions to each input position, in exact integers, and draw them (Figure 1).

    --kernel, --stride, --dilation and --padding take one number for all layers, or one per layer, bottom first.
    """

    kernel: tuple[int, ...] = (3,)
    """taps of each convolution"""
    depth: int = 5
    """number of convolutions"""
    stride: tuple[int, ...] = (1,)
    """stride of each convolution"""
    dilation: tuple[int, ...] = (1,)
    """dilation of each convolution"""
    padding: tuple[int, ...] = (0,)
    """cells of padding on each side"""
    mode: str = "zeros"
    """zeros, circular, reflect, replicate or symmetric"""
    skip: int = 0
    """an identity skip around every so many layers, which must keep the size (0: none)"""
    axes: int = 1
    """spatial axes, 1 to 3; every axis is alike"""
    size: int | None = None
    """input cells per axis (default: the receptive field of one output, so that the counts are a row of Pascal's triangle)"""
    output: tuple[int, ...] = ()
    """the position of one output unit (default: the sum over all of them)"""
    commands: tuple[int, ...] = ()
    """taps of one route from --output, bottom layer first, to draw on one axis (Figure 1b)"""
    out: Path | None = None
    """write a figure here (.png, .pdf, .svg): the units and their edges on one axis, an image on two"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Count; returns what `--json` prints."""
        from validation.runtime.files import FIGURES, checked_out

        checked_out(self.out, FIGURES)
        if self.commands and (self.axes != 1 or not self.output or self.out is None):
            raise SpecificationError("--commands is a route from --output on one axis, drawn into --out")
        net = self.chain()
        counts = lattice.path_counts(net, self.output or None)
        if not self.json:
            print("\n".join(" ".join(map(str, row)) for row in counts.reshape(-1, counts.shape[-1])))
        result: dict[str, Any] = {"size": net.input_shape[1], "outputs": net.output_shape[1], "counts": counts.tolist()}
        if self.out is not None:
            result["figure"] = str(self.draw(net, counts))
            if not self.json:
                print(f"figure: {self.out}")
        return result

    def chain(self) -> lattice.Lattice:
        """The chain that was asked for."""
        depth = whole("--depth", self.depth, 0, MOST_DEPTH)
        axes = whole("--axes", self.axes, 1, 3)
        skip = whole("--skip", self.skip, 0, MOST_DEPTH)
        if skip and depth % skip:
            raise SpecificationError(f"--skip {skip}: {depth} layers do not divide into blocks of {skip}")
        names = ("kernel", "stride", "dilation", "padding")
        per_layer = list(zip(*(self.each(name) for name in names), strict=True))
        if skip and any(
            stride != 1 or 2 * padding != dilation * (kernel - 1) for kernel, stride, dilation, padding in per_layer
        ):
            raise SpecificationError(
                f"--skip {skip}: a skip needs layers that keep the size, with stride 1 and padding dilation (kernel - 1) / 2; "
                "for example --kernel 3 --padding 1"
            )
        convolutions = [lattice.Conv(1, **dict(zip(names, values, strict=True)), mode=self.mode) for values in per_layer]
        layers: list[Any] = list(convolutions)
        if skip:
            layers = [lattice.residual(convolutions[first : first + skip]) for first in range(0, depth, skip)]
        size = self.size if self.size is not None else self.seen()
        return lattice.Lattice.chain((1, *[size] * axes), layers)

    def each(self, name: str) -> tuple[int, ...]:
        """One value per layer, bottom first."""
        values: tuple[int, ...] = getattr(self, name)
        if len(values) == 1:
            return values * self.depth
        if len(values) != self.depth:
            raise SpecificationError(
                f"--{name} has {len(values)} values and there are {self.depth} layers; give one for all, or one per layer"
            )
        return values

    def seen(self) -> int:
        """The receptive field of one output, in cells; as many cells as a chain with a skip keeps."""
        size = 1
        for kernel, stride, dilation in reversed(list(zip(*map(self.each, ("kernel", "stride", "dilation")), strict=True))):
            size = (size - 1) * stride + dilation * (kernel - 1) + 1
        return size

    def draw(self, net: Lattice, counts: Any) -> Path:
        """Write the figure: the lattice itself on one axis, the counts as an image on two."""
        from lattice.drawing.charts import plot_counts
        from lattice.drawing.draw import draw_lattice
        from validation.runtime.files import write_figure

        assert self.out is not None
        try:
            drawn = self.axes == 1
            axes = draw_lattice(net, self.output or None, commands=self.commands or None) if drawn else plot_counts(counts)
        except lattice.ResourceError:  # too many edges to be read
            axes = plot_counts(counts, relative=True)
        write_figure(self.out, axes.figure, dpi=150, bbox_inches="tight")
        return self.out

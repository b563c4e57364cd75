"""`pilcro paths`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lattice
from lattice.checks import whole

__all__ = ["Paths"]


MOST_DEPTH = 10_000  # a lattice has a node for every layer


@dataclass(frozen=True)
class Paths:
    """Count the paths of a chain of equal convolutions, from all outputs to each input position, in exact integers."""

    kernel: int = 3
    """taps of each convolution"""
    depth: int = 5
    """number of convolutions"""
    stride: int = 1
    """stride of each convolution"""
    dilation: int = 1
    """dilation of each convolution"""
    padding: int = 0
    """cells of padding on each side"""
    mode: str = "zeros"
    """zeros, circular, reflect, replicate or symmetric"""
    size: int | None = None
    """input cells (default: the receptive field of one output, so that the counts are a row of Pascal's triangle)"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Count; returns what `--json` prints."""
        size = self.size
        whole("--depth", self.depth, 0, MOST_DEPTH)
        if size is None:
            size = 1
            for _ in range(self.depth):
                size = (size - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        net = lattice.families.plain(
            size, self.depth, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation, mode=self.mode
        )
        counts = [int(count) for count in lattice.path_counts(net)]
        if not self.json:
            print(" ".join(map(str, counts)))
        return {"size": size, "outputs": net.output_shape[1], "counts": counts}

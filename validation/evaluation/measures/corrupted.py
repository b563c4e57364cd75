"""Where the corrupted test images come from: made from the clean ones, or read from a published folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from lattice import SpecificationError
from validation.datasets.dataset import Source
from validation.evaluation.corruptions import corrupt
from validation.evaluation.corruptions.published import CorruptedImages, published

__all__ = ["Corrupted", "Held", "Made"]

Array = np.ndarray[Any, Any]


class Corrupted(Protocol):
    """Corrupted forms of the images of a source."""

    def images(self, name: str, severity: int, first: int, last: int) -> torch.Tensor:
        """uint8 (last - first, channels, height, width): images number first to last - 1."""

    def key(self, name: str) -> dict[str, Any]:
        """What they depend on besides the clean images, the corruption and its severity."""


@dataclass(frozen=True, eq=False)
class Made:
    """Made as they are asked for; image i depends on (seed, corruption, severity, i) alone."""

    source: Source
    seed: int
    constants: str

    def images(self, name: str, severity: int, first: int, last: int) -> torch.Tensor:
        """See `Corrupted`."""
        clean = self.source.images(torch.arange(first, last)).permute(0, 2, 3, 1).numpy()
        made = corrupt(np.ascontiguousarray(clean), name, severity, seed=self.seed, constants=self.constants, first=first)
        return torch.from_numpy(made).permute(0, 3, 1, 2)

    def key(self, name: str) -> dict[str, Any]:
        """See `Corrupted`."""
        return {"seed": self.seed, "constants": self.constants}


@dataclass(frozen=True, eq=False)
class Held:
    """Read from a folder of CIFAR-C or ImageNet-C, which hold the test images in the order of the clean ones."""

    source: Source
    folder: Path

    def images(self, name: str, severity: int, first: int, last: int) -> torch.Tensor:
        """See `Corrupted`; raises `SpecificationError` where the folder is not of these test images."""
        held = self._source(name, severity)
        if not torch.equal(held.labels, self.source.labels):
            raise SpecificationError(
                f"{self.folder} holds {len(held)} images under {name} {severity} with other labels, or in another order, than "
                f"the {len(self.source)} test images: it was made from another data set"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(held.images(range(first, last)))).permute(0, 3, 1, 2)
        clean = self.source.images(torch.tensor([first]))
        if pixels.shape[1:] != clean.shape[1:]:
            raise SpecificationError(
                f"{self.folder} holds images of {tuple(pixels.shape[1:])}, the clean ones are {tuple(clean.shape[1:])} here: "
                "take the size of the published ones (ImageNet-C: 224)"
            )
        return pixels

    def key(self, name: str) -> dict[str, Any]:
        """The hash of an array, or of the names and sizes of the files in a folder."""
        total = hashlib.sha256()
        array = self.folder / f"{name}.npy"
        if array.is_file():
            with array.open("rb") as file:
                total = hashlib.file_digest(file, "sha256")
        else:
            for path in sorted(self.folder.glob(f"**/{name}/*/*/*")):
                total.update(f"{path.relative_to(self.folder)} {path.stat().st_size}\n".encode())
        return {"published": total.hexdigest()}

    def _source(self, name: str, severity: int) -> CorruptedImages:
        return published(self.folder).source(name, severity, mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0))

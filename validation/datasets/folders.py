"""ImageNet-style folders: root/train/CLASS/*.JPEG and root/val/CLASS/*.JPEG, decoded as they are needed."""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError
from validation.datasets.dataset import Dataset, normalise

__all__ = ["Folder", "read", "zoom_box"]

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the customary ones of ImageNet
SHORT = 8 / 7  # evaluation: short side size * 8/7, then the middle (256 for 224; the paper names only 288, the crop)


def zoom_box(width: int, height: int, numbers: Any) -> tuple[float, float, float, float]:
    """The random zoom: a box (left, top, right, bottom) of 8 to 100 % of the area, its aspect from 3:4 to 4:3 (log-uniform).

    `numbers`: four uniform ones (area, aspect, column, row). The box is cut to the image where its sides do not fit.

    Parameters
    ----------
    width : int
        Pixels of the image.
    height : int
        Pixels of the image.
    numbers : object
        Four uniform ones.

    Returns
    -------
    tuple[float, float, float, float]
        (left, top, right, bottom) in pixels.

    Examples
    --------
    >>> zoom_box(100, 80, (1.0, 0.5, 0.5, 0.5))
    (5.278640450004204, 0.0, 94.7213595499958, 80.0)
    """
    area = width * height * (0.08 + 0.92 * float(numbers[0]))
    aspect = math.exp((2 * float(numbers[1]) - 1) * math.log(4 / 3))
    w, h = min(width, math.sqrt(area * aspect)), min(height, math.sqrt(area / aspect))
    left, top = (width - w) * float(numbers[2]), (height - h) * float(numbers[3])
    return left, top, left + w, top + h


@dataclass(frozen=True, eq=False)
class Folder:
    """Image files and their classes; decoded by `workers` threads; with `zoom`, zoomed and mirrored by the numbers given."""

    files: tuple[Path, ...]
    labels: torch.Tensor
    size: int
    zoom: bool = False
    workers: int = 8
    prefetch: bool = True

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers)

    def images(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 (B, 3, size, size); see `Source`."""
        rows: list[Any] = numbers.tolist() if self.zoom and numbers is not None else [None] * len(indices)
        return torch.from_numpy(np.stack(list(self._pool.map(self._read, indices.tolist(), rows))))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """float32, by the customary constants of ImageNet."""
        return normalise(images, MEAN, DEVIATION)

    def batch(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """float32 (B, 3, size, size) as a network is given them; see `Source`."""
        return self.normalised(self.images(indices, numbers))

    def _read(self, index: int, row: list[float] | None) -> Any:
        from PIL import Image

        try:
            with Image.open(self.files[index]) as file:
                image = file.convert("RGB")
        except (OSError, ValueError) as error:
            raise SpecificationError(f"{self.files[index]} cannot be read as an image: {error}") from error
        width, height = image.size
        if row is None:
            side = min(width, height) / SHORT
            box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        else:
            box = zoom_box(width, height, row[1:])
        pixels = np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)).transpose(2, 0, 1)
        return pixels[:, :, ::-1] if row is not None and row[0] < 0.5 else pixels


def read(root: Path | None, size: int, evaluation_size: int, augment: str) -> Dataset:
    """root/train and root/val (or root/test), a folder a class; the hash is over the files' names and sizes.

    Parameters
    ----------
    root : Path, optional
        The folder that holds train and val.
    size : int
        Pixels of an image's side.
    evaluation_size : int
        Pixels of a test image's side.
    augment : str
        "zoom" (with its flip) or "none".

    Returns
    -------
    Dataset
        Images to train and to test on, decoded as they are needed.

    Raises
    ------
    SpecificationError
        For folders that are missing, empty, or that do not have the same classes.
    """
    if augment not in ("zoom", "none"):
        raise SpecificationError(f"augment is {augment!r}; folders take 'zoom' (with its flip) or 'none'")
    if root is None or not (root / "train").is_dir():
        raise SpecificationError(f"there is no {(root or Path('data')) / 'train'}; --root names the folder that holds train")
    held = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    if held is None:
        raise SpecificationError(f"there is neither {root / 'val'} nor {root / 'test'}: one holds the images to evaluate on")
    classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    total, parts = hashlib.sha256(), []
    for place, side, zoom in ((root / "train", size, augment == "zoom"), (held, evaluation_size, False)):
        found = sorted(path.name for path in place.iterdir() if path.is_dir())
        if found != classes:
            other = sorted(set(found) ^ set(classes))[:5]
            raise SpecificationError(f"{place} has {len(found)} classes, train {len(classes)}; they differ in {other}")
        files = [
            (path, label)
            for label, name in enumerate(classes)
            for path in sorted((place / name).iterdir())
            if path.suffix.lower() in ENDINGS
        ]
        if not files:
            raise SpecificationError(f"{place} holds no images ({', '.join(sorted(ENDINGS))}) in its class folders")
        for path, _ in files:
            total.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
        parts.append(Folder(tuple(p for p, _ in files), torch.tensor([label for _, label in files]), side, zoom))
    return Dataset(parts[0], parts[1], len(classes), total.hexdigest())

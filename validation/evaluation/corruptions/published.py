"""The published CIFAR-10-C, CIFAR-100-C and ImageNet-C (also Tiny ImageNet-C), read where they lie on disk.

CIFAR    folder/NAME.npy, the images of severity 1, then 2, .. 5, and folder/labels.npy
ImageNet folder/NAME/SEVERITY/CLASS/*.JPEG, or folder/CATEGORY/NAME/SEVERITY/CLASS/*.JPEG, as the archives unpack
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError
from validation.datasets.dataset import normalise
from validation.datasets.folders import ENDINGS
from validation.evaluation.corruptions.severities import CATEGORIES, SEVERITIES

__all__ = ["CorruptedImages", "Published", "published"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class CorruptedImages:
    """One corruption at one severity: a `Source` (see `validation.datasets.dataset`), and its images as bytes."""

    labels: torch.Tensor
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    read: Callable[[list[int]], Array]
    prefetch: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: torch.Tensor | Sequence[int]) -> Array:
        """uint8 (B, height, width, 3), as they are stored."""
        return self.read([int(index) for index in indices])

    def batch(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """float32 (B, 3, height, width), normalised; they are to be tested on, so that nothing augments them."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.images(indices).transpose(0, 3, 1, 2)))
        return normalise(pixels, self.mean, self.deviation)


@dataclass(frozen=True)
class Published:
    """A folder of published corrupted images: the `names` that lie in it, each at the `severities` 1 to 5."""

    folder: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]  # of folders of files, in the order of their labels; empty for arrays
    severities: tuple[int, ...] = SEVERITIES

    def source(
        self, name: str, severity: int, *, mean: tuple[float, float, float], deviation: tuple[float, float, float]
    ) -> CorruptedImages:
        """The images of one corruption and severity, normalised by the `mean` and `deviation` that the model was trained with.

        Arrays stay on disk and are read as they are asked for. Raises `SpecificationError` for names and severities that are
        not there, and for files that are not what the published ones are.
        """
        if name not in self.names or isinstance(severity, bool) or severity not in self.severities:
            raise SpecificationError(
                f"{self.folder} does not hold {name!r} at severity {severity!r}; it holds {', '.join(self.names)} at "
                f"{self.severities[0]} to {self.severities[-1]}"
            )
        labels, read = (_files if self.classes else _rows)(self, name, severity)
        return CorruptedImages(torch.tensor(labels, dtype=torch.int64), mean, deviation, read)


def published(folder: str | Path, *, classes: Sequence[str] | None = None) -> Published:
    """What lies in a folder of CIFAR-C arrays or of ImageNet-C files.

    `classes`: for files, the class folders in the order of the model's outputs (by default all that are there, sorted).

    Parameters
    ----------
    folder : str | Path
        As it was unpacked.
    classes : sequence of str, optional
        Names of the classes, for ImageNet-C's folders.

    Returns
    -------
    Published
        What is there, read as it is asked for.

    Raises
    ------
    SpecificationError
        Where neither is found.
    """
    folder = Path(folder)
    names = [name for row in CATEGORIES.values() for name in row]
    arrays = tuple(name for name in names if (folder / f"{name}.npy").is_file())
    if arrays and (folder / "labels.npy").is_file():
        return Published(folder, arrays, ())
    files = tuple(name for name in names if _place(folder, name))
    if not files:
        raise SpecificationError(
            f"{folder.absolute()} holds no published corruptions: neither labels.npy beside NAME.npy (CIFAR-C), "
            f"nor NAME/1 or CATEGORY/NAME/1 (ImageNet-C) for a NAME such as {names[0]} or {names[-1]}"
        )
    place = _place(folder, files[0])
    assert place is not None
    found = classes or sorted(path.name for path in (place / "1").iterdir() if path.is_dir())
    if not found:
        raise SpecificationError(f"{place / '1'} holds no class folders; ImageNet-C's hold CLASS/*.JPEG")
    return Published(folder, files, tuple(found))


def _place(folder: Path, name: str) -> Path | None:
    category = next(category for category, names in CATEGORIES.items() if name in names)
    return next((path for path in (folder / name, folder / category / name) if (path / "1").is_dir()), None)


def _array(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise SpecificationError(f"{path} cannot be read as an array of numbers: {error}") from error


def _rows(held: Published, name: str, severity: int) -> tuple[list[int], Callable[[list[int]], Array]]:
    path = held.folder / f"{name}.npy"
    images, labels = _array(path), _array(held.folder / "labels.npy")
    each = len(images) // len(SEVERITIES)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != each * len(SEVERITIES):
        raise SpecificationError(
            f"{path} holds {images.dtype} {images.shape}; it would be uint8 (5 N, height, width, 3), N images a severity"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) not in (each, len(images)):
        raise SpecificationError(
            f"{held.folder / 'labels.npy'} holds {labels.dtype} {labels.shape}; "
            f"with {name} go {len(images)} or {each} class numbers"
        )
    first = (severity - 1) * each
    own = labels if len(labels) == each else labels[first : first + each]
    rows = images[first : first + each]
    return own.tolist(), lambda indices: rows[indices]


def _files(held: Published, name: str, severity: int) -> tuple[list[int], Callable[[list[int]], Array]]:
    place = _place(held.folder, name)
    assert place is not None
    files, labels = [], []
    for label, kind in enumerate(held.classes):
        part = place / str(severity) / kind
        if not part.is_dir():
            raise SpecificationError(
                f"there is no {part}; each corruption and severity has the same {len(held.classes)} classes"
            )
        found = sorted(path for path in part.iterdir() if path.suffix.lower() in ENDINGS)
        files += found
        labels += [label] * len(found)
    if not files:
        raise SpecificationError(f"{place / str(severity)} holds no images in its class folders")
    return labels, lambda indices: _decoded([files[index] for index in indices])


def _decoded(files: list[Path]) -> Array:
    from PIL import Image

    images = []
    for file in files:
        try:
            with Image.open(file) as picture:
                images.append(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise SpecificationError(f"{file} cannot be read as an image: {error}") from error
        if images[-1].shape != images[0].shape:
            sizes = " and ".join(" x ".join(map(str, image.shape[:2])) for image in (images[0], images[-1]))
            raise SpecificationError(f"{files[0]} and {file} have {sizes} pixels; published images have one size")
    return np.stack(images)

"""Where the images of a field come from: arrays, loaders, data sets by name, folders of pictures, white noise.

Images are known by number and read in order, so that a measurement that was stopped goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape.input_checks import checked_images
from lattice import SpecificationError
from lattice.checks import given_shape, is_whole, whole
from lattice.results.files import digest
from validation.datasets.catalogue import load
from validation.datasets.dataset import Source
from validation.datasets.folders import ENDINGS, Folder

__all__ = ["DATA_SETS", "Images", "images_from", "named_images", "white_noise"]

DATA_SETS = ("mnist", "mnist-corner", "digits", "photos", "photographs", "cifar10", "cifar100")


@dataclass(frozen=True, eq=False)
class Images:
    """`count` images of one `shape`, read by `read(range)` as (N, *shape) in increasing order; `identity`: which they are.

    An iterable of batches has no identity: nothing says that it gives the same images again.
    """

    shape: tuple[int, ...]
    count: int
    identity: str
    read: Callable[[range], torch.Tensor]

    def first(self) -> torch.Tensor:
        """The first one, (1, *shape)."""
        return self.read(range(1))


def images_from(given: Any, *, count: int | None = None, seed: int = 0, draws: int = 200, size: int = 224) -> Images:
    """What a caller gave as images: a shape (white noise), an array or tensor (N, ...), a `Source`, a folder, batches.

    `count`: how many at most. Raises `SpecificationError` for no images, NaN, and images of several shapes.
    """
    if count is not None:
        whole("count", count, 1)
    if isinstance(given, Images):
        return given
    if isinstance(given, torch.Size | tuple | list) and given and all(map(is_whole, given)):
        return white_noise(given_shape(tuple(given)), count or draws, seed)
    if isinstance(given, str | Path):
        return named_images(str(given), count=count, size=size)
    if isinstance(given, torch.Tensor | np.ndarray):
        return _array(given, count)
    if all(hasattr(given, name) for name in ("batch", "labels", "__len__")):
        return _source(given, count, type(given).__name__)
    if isinstance(given, Iterable):
        return _batches(given, count)
    raise SpecificationError(
        f"images is a {type(given).__name__}; give images (N, channels, *positions), an iterable of batches of them, a folder, "
        f"the name of a data set ({', '.join(DATA_SETS)}), or a shape (channels, *positions) for white noise"
    )


def white_noise(shape: tuple[int, ...], count: int, seed: int) -> Images:
    """Independent normal pixels of variance one; image i depends on (seed, i) only."""

    def read(indices: range) -> torch.Tensor:
        generator = torch.Generator()
        rows = [torch.randn(shape, generator=generator.manual_seed(_number(seed, i))) for i in indices]
        return torch.stack(rows)

    return Images(shape, count, f"white noise of seed {seed}", read)


def named_images(name: str, *, count: int | None = None, size: int = 224, root: Path | None = None) -> Images:
    """The test images of a data set by name, normalised as in training, or the pictures in a folder and below it.

    Pictures are cut and resized to `size` pixels and normalised by ImageNet's customary constants. Raises `SpecificationError`
    for a name that is neither, and for a folder without pictures.
    """
    if name in DATA_SETS:
        data = load(name, root=root, size=size)
        return _source(data.test, count, f"{name} at {size} pixels, {data.sha256[:16]}")
    folder = Path(name)
    if not folder.is_dir():
        raise SpecificationError(
            f"there is no folder {name!r}, and no data set of that name; give a folder of pictures "
            f"({', '.join(sorted(ENDINGS))}) or one of {', '.join(DATA_SETS)}, noise"
        )
    files = tuple(path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        raise SpecificationError(f"the folder {name} holds no pictures ({', '.join(sorted(ENDINGS))}), nor does one below it")
    whole("size", size, 1)
    kept = files[:count]
    content = json.dumps([[str(path.relative_to(folder)), path.stat().st_size] for path in kept]).encode()
    source = Folder(kept, torch.zeros(len(kept), dtype=torch.int64), size)
    return _source(source, count, f"{folder.name} at {size} pixels, {hashlib.sha256(content).hexdigest()[:16]}")


def _number(seed: int, index: int) -> int:
    """A seed that depends on (seed, index) only."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]) >> 1


def _array(given: Any, count: int | None) -> Images:
    if given.ndim < 2:
        raise SpecificationError(f"images have shape {tuple(given.shape)}; give images (N, channels, *positions)")
    array = checked_images(given, tuple(given.shape[1:]))[:count]
    kept = torch.from_numpy(np.ascontiguousarray(array))
    return Images(tuple(array.shape[1:]), len(array), digest({}, {"images": array}), lambda r: kept[r.start : r.stop])


def _source(source: Source, count: int | None, identity: str) -> Images:
    many = len(source) if count is None else min(count, len(source))
    if not many:
        raise SpecificationError("there are no images")

    def read(indices: range) -> torch.Tensor:
        return _checked(source.batch(torch.arange(indices.start, indices.stop)), indices.start)

    return Images(tuple(read(range(1)).shape[1:]), many, identity, read)


def _batches(batches: Iterable[Any], count: int | None) -> Images:
    """Images out of a loader: batches of them, or tuples that begin with images; read forwards, and again for the first one."""
    stream = _Stream(batches)
    first = stream.read(range(1))
    if count is None:
        if not isinstance(batches, Sized):
            raise SpecificationError(f"a {type(batches).__name__} has no length; give count=, how many images to take at most")
        many = getattr(batches, "dataset", None)
        count = len(many) if isinstance(many, Sized) else len(batches) * len(stream.held)
    return Images(tuple(first.shape[1:]), count, "", stream.read)


class _Stream:
    """Batches cut anew into the ranges that are asked for, in increasing order; where they end, fewer images are returned."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.source: Iterator[Any] = iter(batches)
        self.held = torch.empty(0)
        self.shape: torch.Size | None = None
        self.start = 0  # the number of the first image that is held

    def read(self, indices: range) -> torch.Tensor:
        while self.start + len(self.held) < indices.stop:
            batch = next(self.source, None)
            if batch is None:
                break
            images = _checked(batch[0] if isinstance(batch, tuple | list) and batch else batch, self.start + len(self.held))
            self.shape = self.shape or images.shape[1:]
            if images.shape[1:] != self.shape:
                number = self.start + len(self.held)
                raise SpecificationError(
                    f"image {number} has shape {tuple(images.shape[1:])}, the first one {tuple(self.shape)}; a field "
                    "needs one shape"
                )
            # what lies before this range was read or is not wanted
            drop = min(max(indices.start - self.start, 0), len(self.held))
            rest = self.held[drop:]
            self.start += drop
            self.held = torch.cat([rest, images]) if len(rest) else images
        if not len(self.held):
            raise SpecificationError(
                "there are no images in batches; an iterator that was read before is empty the second time"
            )
        low = indices.start - self.start
        return self.held[low : low + len(indices)]


def _checked(images: Any, start: int) -> torch.Tensor:
    if not isinstance(images, torch.Tensor) or images.ndim < 2 or not images.is_floating_point():
        raise SpecificationError(
            f"after {start} images, a batch is a {type(images).__name__} of shape {tuple(getattr(images, 'shape', ()))}; it "
            "must be floating-point images (N, channels, *positions), or a tuple that begins with them"
        )
    broken = (~torch.isfinite(images)).flatten(1).any(dim=1).nonzero()
    if len(broken):
        raise SpecificationError(f"image {start + int(broken[0])} has NaN or infinite pixels; give finite images")
    return images

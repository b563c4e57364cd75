"""The target landscape of a data set, computed once and kept with the hash of what it came from."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from lattice import SpecificationError
from lattice.results.files import read_arrays, write_arrays
from validation.datasets.dataset import Dataset
from validation.gradients.objective import smoothness_target
from validation.runtime.process_group import World

__all__ = ["cached_target"]

BATCH = 500


def cached_target(data: Dataset, width: int, folder: Path, place: World | None = None) -> torch.Tensor:
    """S (before Eq. 17) over the training images without augmentation, float32; kept as `folder`/target-<hash>-k<width>.npz.

    A file that is damaged, or of other data, is named in a warning and written anew. Only the first process writes.

    Parameters
    ----------
    data : Dataset
        The data set.
    width : int
        k of the Laplacian, odd and 3 at least.
    folder : Path
        Where the file is kept.
    place : World, optional
        This process among those that share the work.

    Returns
    -------
    torch.Tensor
        S (positions), float32.
    """
    header = {"data": data.sha256, "width": width, "kind": "target"}
    path = folder / f"target-{data.sha256[:12]}-k{width}.npz"
    if path.exists():
        try:
            found, arrays = read_arrays(path)
            if found == header:
                return torch.from_numpy(arrays["target"]).float()
            warnings.warn(f"{path} is of other data; it is computed anew", RuntimeWarning, stacklevel=2)
        except SpecificationError as error:
            warnings.warn(f"{error}; it is computed anew", RuntimeWarning, stacklevel=2)

    def batches() -> Iterator[torch.Tensor]:
        for first in range(0, len(data.train), BATCH):
            yield data.train.batch(torch.arange(first, min(first + BATCH, len(data.train))))

    target = smoothness_target(batches(), width)
    if place is None or place.first:
        write_arrays(path, header, {"target": target.numpy()})
    return target.float()

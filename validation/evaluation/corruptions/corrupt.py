"""Corrupted images: the one function through which all 19 corruptions are used.

Image number n of a data set draws from a generator of its own, seeded by (seed, name, severity, n) and by nothing else, so
that its bytes do not depend on the batch or the thread that it was made in.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np

from lattice import SpecificationError
from validation.evaluation.corruptions import blur, digital, extra, noise, weather
from validation.evaluation.corruptions.severities import CATEGORIES, CONSTANTS, SEVERITIES, Constants

__all__ = ["SMALLEST", "corrupt"]

Array = np.ndarray[Any, Any]
Corruption = Callable[[Array, Constants, np.random.Generator], Array]

SMALLEST = 8  # pixels on either side
HAIR = 1e-6  # of a byte, so that arithmetic that gives a byte back up to its own rounding gives that byte

FUNCTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        name: next(getattr(module, name) for module in (noise, blur, weather, digital, extra) if name in module.__all__)
        for names in CATEGORIES.values()
        for name in names
    }
)


def corrupt(
    images: Array, name: str, severity: int, *, seed: int, constants: str = "imagenet", workers: int = 1, first: int = 0
) -> Array:
    """A corrupted copy of `images`, uint8 (N, height, width, 3), (N, height, width, 1) or (N, height, width).

    `name`: one of those in `CATEGORIES`; `severity` 1 to 5; `constants` "imagenet" or "cifar", whose numbers set what the
    severities mean (see `CONSTANTS`, `defaults_for`). Image i is number `first` + i of the data set, and draws from a
    generator seeded by (seed, name, severity, first + i): the same bytes in any batch and with any number of `workers`
    (threads). As in the published sets, values are cut to whole bytes, not rounded; unlike in ImageNet-C's, the result is
    not compressed once more.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, never written to.
    name : str
        Its name.
    severity : int
        From 1 to 5.
    seed : int
        Of all that is drawn.
    constants : str
        "imagenet", "cifar", or as said above.
    workers : int
        Threads.
    first : int
        The number of the first image, on which its randomness depends.

    Returns
    -------
    numpy.ndarray
        uint8, of the shape of `images`.

    Raises
    ------
    SpecificationError
        For names, numbers and arrays that do not fit, and for frost where its pictures are not installed.

    Examples
    --------
    >>> grey = np.full((2, 32, 32), 100, dtype=np.uint8)
    >>> corrupt(grey, "brightness", 3, seed=0, constants="cifar")[0, 0]
    array([138, 138, 138, 138, 138, 138, 138, 138, 138, 138, 138, 138, 138,
           138, 138, 138, 138, 138, 138, 138, 138, 138, 138, 138, 138, 138,
           138, 138, 138, 138, 138, 138], dtype=uint8)
    """
    function, row = _chosen(name, severity, constants)
    for number, what, least in ((seed, "seed", 0), (first, "first", 0), (workers, "workers", 1)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise SpecificationError(f"{what} is {number!r}; it is a whole number from {least} on")
    stack = _stack(images)
    result = np.empty_like(stack)

    def one(i: int) -> None:
        sequence = np.random.SeedSequence((int(seed), int(severity), int(first) + i, *name.encode()))
        x = function(stack[i] / 255, row, np.random.default_rng(sequence))
        result[i] = np.clip(x, 0, 1) * 255 + HAIR

    if workers == 1 or len(stack) < 2:
        for i in range(len(stack)):
            one(i)
    else:
        with ThreadPoolExecutor(min(workers, len(stack))) as pool:
            list(pool.map(one, range(len(stack))))
    return result.reshape(images.shape)


def _chosen(name: Any, severity: Any, constants: Any) -> tuple[Corruption, Constants]:
    if not isinstance(name, str) or name not in FUNCTIONS:
        near = get_close_matches(str(name).strip().lower().replace(" ", "_").replace("-", "_"), FUNCTIONS, 3, 0.5)
        hint = f"did you mean {', '.join(near)}? There are" if near else "there are"
        raise SpecificationError(f"there is no corruption {name!r}; {hint} {', '.join(FUNCTIONS)}")
    if not isinstance(constants, str) or constants not in CONSTANTS:
        raise SpecificationError(f"constants is {constants!r}; there are {' and '.join(map(repr, CONSTANTS))}")
    if isinstance(severity, bool) or not isinstance(severity, int | np.integer) or severity not in SEVERITIES:
        raise SpecificationError(f"severity is {severity!r}; {name} has the severities 1 to {len(SEVERITIES)}")
    return FUNCTIONS[name], CONSTANTS[constants][name][severity - 1]


def _stack(images: Any) -> Array:
    """`images` as (N, height, width, channels)."""
    wanted = "corrupt takes uint8 images (N, height, width, 3), (N, height, width, 1) or (N, height, width)"
    if not isinstance(images, np.ndarray):
        hint = "; give its .numpy()" if hasattr(images, "numpy") else ""
        raise SpecificationError(f"images is a {type(images).__name__}; {wanted} as a numpy array{hint}")
    if images.dtype != np.uint8:
        hint = ": scale them to 0 .. 255 and cast" if images.dtype.kind == "f" else ""
        raise SpecificationError(f"images is {images.dtype}; {wanted}{hint}")
    if images.ndim == 3 and images.shape[2] in (1, 3):
        raise SpecificationError(f"images has the shape {images.shape}; {wanted}: one image is images[None]")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        last = images.ndim == 4 and images.shape[1] in (1, 3)
        hint = ": put the channels last, images.transpose(0, 2, 3, 1)" if last else ""
        raise SpecificationError(f"images has the shape {images.shape}; {wanted}{hint}")
    if min(images.shape[1:3]) < SMALLEST:
        raise SpecificationError(f"images has the shape {images.shape}; both sides are at least {SMALLEST} pixels")
    return images[..., None] if images.ndim == 3 else images

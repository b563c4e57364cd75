"""Images, maps and factories that a caller gives, checked once at the boundary."""

import sys
import sysconfig
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from lattice import PilcroError, SpecificationError

__all__ = ["NOWHERE", "call_factory", "checked_images", "checked_map", "either_spelling", "users_line"]

Array = np.ndarray[Any, Any]
P = ParamSpec("P")
R = TypeVar("R")
NOWHERE = "the map is zero everywhere: no path reaches the input, so it has no shape"


def either_spelling(function: Callable[P, R]) -> Callable[P, R]:
    """A function of `initialisation=` that understands `initialization=` too.

    >>> @either_spelling
    ... def variance(*, initialisation=None):
    ...     return initialisation
    >>> variance(initialization=1.0), variance(initialisation=2.0)
    (1.0, 2.0)
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if "initialization" in kwargs:
            if "initialisation" in kwargs:
                raise SpecificationError("initialisation= and initialization= are one argument: give one of them")
            kwargs["initialisation"] = kwargs.pop("initialization")
        return function(*args, **kwargs)

    return called


def checked_images(inputs: Any, shape: tuple[int, ...]) -> Array:
    """Images (N, *shape), an array or a torch tensor, as a float array: finite, of a real floating-point type, at least one.

    The array may share the caller's memory: whoever hands it to a model hands on a copy. Its numbers are of a type that
    torch knows (at most double precision, in the machine's own byte order), and its strides are positive.
    """
    tensor = inputs.detach().cpu() if hasattr(inputs, "detach") else inputs
    if hasattr(tensor, "is_floating_point") and tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # numpy has no bfloat16
    try:
        images = np.asarray(tensor)
    except Exception as error:  # whatever an object that is no array raises
        raise SpecificationError(f"inputs is a {type(inputs).__name__}, which is no array: {error}") from error
    expected = f"(N, {', '.join(map(str, shape))})"
    if images.dtype.kind in "OUS":
        raise SpecificationError(f"inputs is {str(inputs)[:80]!r}, a {type(inputs).__name__}; it is an array {expected}")
    if images.shape[1:] != shape or not len(images):
        cause = _wrong_axes(images.shape, shape)
        raise SpecificationError(f"inputs have shape {images.shape}; the network reads {expected}, one image at least{cause}")
    if images.dtype.kind == "f":
        images = np.ascontiguousarray(images, dtype=np.float64 if images.itemsize > 8 else images.dtype.newbyteorder("="))
    if images.dtype.kind != "f" or not np.isfinite(images).all():
        what = "NaN or infinite entries" if images.dtype.kind == "f" else images.dtype
        raise SpecificationError(f"inputs hold {what}; give finite floating-point images, scaled as the model expects them")
    return images


def _wrong_axes(sizes: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """What is wrong with the shape of images, where it is one of the usual mistakes."""
    if sizes == shape:
        return ": add the batch axis, inputs[None]"
    if sizes[1:] == (*shape[1:], shape[0]):
        return ": channels come first, np.moveaxis(inputs, -1, 1)"
    if sizes[2:] == shape:
        return ": one axis too many before the channels, inputs.reshape(-1, *inputs.shape[2:])"
    return ": none were given" if sizes[1:] == shape else ""


def users_line(error: BaseException) -> str:
    """Where in the caller's own code an error arose, as " (at FILE:LINE, in FUNCTION: SOURCE)"; "" where nowhere.

    It is the innermost frame that belongs neither to Python nor to torch, nor to these packages.

    >>> def forward(x):
    ...     return x["three"]
    >>> try:
    ...     forward({})
    ... except KeyError as error:
    ...     users_line(error).partition(", ")[2]
    'in forward: return x["three"])'
    """
    here = Path(__file__).resolve().parent.parent
    others = [here / name for name in ("lattice", "landscape", "validation", "pilcro")]
    torch = getattr(sys.modules.get("torch"), "__file__", None)
    others += [Path(torch).resolve().parent] if torch else []
    standard, site = Path(sysconfig.get_path("stdlib")).resolve(), "site-packages"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        of_python = file.is_relative_to(standard) and site not in file.parts
        if (
            frame.filename == "<string>"
            or frame.filename.startswith("<frozen")
            or of_python
            or any(file.is_relative_to(other) for other in others)
        ):
            continue
        source = f": {frame.line}" if frame.line else ""
        return f" (at {frame.filename}:{frame.lineno}, in {frame.name}{source})"
    return ""


def call_factory(factory: Callable[[], Any]) -> Any:
    """What a factory returns; whatever else it raises becomes a `SpecificationError` that names it."""
    try:
        return factory()
    except PilcroError:
        raise
    except Exception as error:
        name = getattr(factory, "__qualname__", factory)
        raise SpecificationError(
            f"the factory {name} raised {type(error).__name__}: {error}{users_line(error)}; "
            "a factory takes no arguments and returns a freshly initialised torch.nn.Module, for example "
            "lambda: MyModel(classes=10)"
        ) from error


def checked_map(squared: Any) -> Array:
    """A map of expected squared gradients divided by its largest entry: finite, not negative, and somewhere above zero."""
    values = np.asarray(squared)
    if values.dtype.kind not in "biuf" or not values.ndim or not values.size:
        raise SpecificationError(
            f"a map of {values.dtype} with shape {values.shape}; it is an array of numbers over positions, and not empty"
        )
    values = values.astype(np.float64)
    largest = values.max()
    if not np.isfinite(values).all() or values.min() < 0:
        raise SpecificationError(
            "this map has NaN, infinite or negative entries: it is no map of expected squared gradients, which are none of that"
        )
    if not largest > 0:
        raise SpecificationError(NOWHERE)
    return np.asarray(values / largest)

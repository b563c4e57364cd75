"""Images, maps and factories that a caller gives, checked once at the boundary."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lattice import PilcroError, SpecificationError

__all__ = ["checked_images", "checked_map", "call_factory"]

Array = np.ndarray[Any, Any]


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
        raise SpecificationError(f"inputs have shape {images.shape}; the network reads {expected}, one image at least")
    if images.dtype.kind == "f":
        images = np.ascontiguousarray(images, dtype=np.float64 if images.itemsize > 8 else images.dtype.newbyteorder("="))
    if images.dtype.kind != "f" or not np.isfinite(images).all():
        what = "NaN or infinite entries" if images.dtype.kind == "f" else images.dtype
        raise SpecificationError(f"inputs hold {what}; give finite floating-point images, scaled as the model expects them")
    return images


def call_factory(factory: Callable[[], Any]) -> Any:
    """What a factory returns; whatever else it raises becomes a `SpecificationError` that names it."""
    try:
        return factory()
    except PilcroError:
        raise
    except Exception as error:
        raise SpecificationError(
            f"the factory {getattr(factory, '__qualname__', factory)} raised {type(error).__name__}: {error}; a factory takes "
            "no arguments and returns a freshly initialised torch.nn.Module, for example lambda: MyModel(classes=10)"
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
        raise SpecificationError("this map is zero or NaN everywhere: no path reaches the input, so it has no shape")
    return np.asarray(values / largest)

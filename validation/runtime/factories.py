"""The user's own models, by the name of a factory."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lattice import SpecificationError

if TYPE_CHECKING:
    import torch

__all__ = ["model_factory"]


def model_factory(name: str) -> Callable[[], torch.nn.Module]:
    """The factory that a name stands for: a torchvision model, `timm:NAME`, `package.module:factory` or `file.py:factory`.

    Raises `SpecificationError` with close matches where there is none.
    """
    if not isinstance(name, str):
        raise SpecificationError(
            f"the model's name is {name!r}; it is a torchvision name, package.module:factory or file.py:factory"
        )
    if ":" in name:
        place, _, attribute = name.rpartition(":")
        if place == "timm":
            return _of_timm(attribute)
        if not place:
            raise SpecificationError(f"{name!r} names no module; give package.module:factory or file.py:factory")
        module = _load(place)
        factory = getattr(module, attribute, None)
        if not callable(factory):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise SpecificationError(f"{place} has no callable {attribute!r}; it has {', '.join(sorted(known)) or 'none'}")
        found: Callable[[], torch.nn.Module] = factory
        return found
    try:
        from torchvision import models
    except ImportError as error:
        raise SpecificationError(
            f"{name!r} is read as a torchvision name, and torchvision is not installed: pip install 'pilcro[vision]', "
            "or give package.module:factory or file.py:factory"
        ) from error
    if name not in models.list_models():
        close = difflib.get_close_matches(name, models.list_models(), n=3)
        hint = (
            f"did you mean {', '.join(close)}?"
            if close
            else "give a torchvision name, package.module:factory or file.py:factory"
        )
        raise SpecificationError(f"torchvision has no model {name!r}; {hint}")
    builder = models.get_model_builder(name)
    return lambda: builder(weights=None)


def _of_timm(name: str) -> Callable[[], torch.nn.Module]:
    """A factory of a model of timm, by its name there."""
    try:
        import timm
    except ImportError as error:
        raise SpecificationError(f"'timm:{name}' needs timm: pip install timm") from error
    known = timm.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        raise SpecificationError(f"timm has no model {name!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    return lambda: timm.create_model(name)


_WHATEVER = (Exception, SystemExit)  # what the user's own file may raise


def _load(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except _WHATEVER as error:
            raise SpecificationError(f"cannot import {place!r}: {type(error).__name__}: {error}") from error
    path = Path(place)
    if not os.path.isfile(path):  # unlike `path.is_file()` false for null characters and names that are too long
        raise SpecificationError(f"there is no file {place!r}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except _WHATEVER as error:
        raise SpecificationError(f"{place} raised {type(error).__name__} as it was imported: {error}") from error
    return module

"""Models by name: those of torchvision, timm and fetched torch.hub repositories, and factories of the user's own."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lattice import SpecificationError
from lattice.lazy import to_install

if TYPE_CHECKING:
    import torch

__all__ = ["model_factory"]

FORMS = "a torchvision name, timm:NAME, hub:OWNER/REPOSITORY:NAME, package.module:factory or file.py:factory"


def model_factory(name: str) -> Callable[[], torch.nn.Module]:
    """The factory that a name stands for, of freshly initialised models: nothing is downloaded.

    A torchvision name (resnet18), `timm:NAME`, `hub:OWNER/REPOSITORY:NAME` of a repository that torch.hub has fetched already,
    `package.module:factory` or `file.py:factory`. Raises `SpecificationError` with close matches where there is none.
    """
    if not isinstance(name, str):
        raise SpecificationError(f"the model's name is {name!r}; it is {FORMS}")
    if name.endswith(".py"):
        there = ", ".join(_callables(_load(name))) or "none"
        raise SpecificationError(f"{name} is a file: name a factory in it, {name}:NAME; it has {there}")
    source, _, rest = name.partition(":")
    if source in ("timm", "hub"):
        return _of_timm(rest) if source == "timm" else _of_hub(rest)
    if ":" in name:
        place, _, attribute = name.rpartition(":")
        if not place:
            raise SpecificationError(f"{name!r} names no module; give {FORMS}")
        module = _load(place)
        factory = getattr(module, attribute, None)
        if not callable(factory):
            raise SpecificationError(f"{place} has no callable {attribute!r}; it has {', '.join(_callables(module)) or 'none'}")
        found: Callable[[], torch.nn.Module] = factory
        return found
    try:
        from torchvision import models
    except ImportError as error:
        raise SpecificationError(
            f"{name!r} is read as a torchvision name, and torchvision is not installed: {to_install('vision')}, or give {FORMS}"
        ) from error
    if name not in models.list_models():
        raise SpecificationError(f"torchvision has no model {name!r}; {_meant(name, models.list_models())}")
    builder = models.get_model_builder(name)
    return lambda: builder(weights=None)


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=3)
    return f"did you mean {', '.join(close)}?" if close else f"give {FORMS}"


def _callables(module: Any) -> list[str]:
    """What a module defines itself and could be a factory, and what it does not define if that is all."""
    found = {key: value for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
    own = [key for key, value in found.items() if getattr(value, "__module__", None) == module.__name__]
    return sorted(own or found)


def _of_timm(name: str) -> Callable[[], torch.nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise SpecificationError(f"timm:{name} needs timm: pip install timm; or give {FORMS}") from error
    if not timm.is_model(name):
        raise SpecificationError(f"timm has no model {name!r}; {_meant(name, timm.list_models())}")
    return lambda: timm.create_model(name, pretrained=False)


def _of_hub(name: str) -> Callable[[], torch.nn.Module]:
    """An entry of a repository where torch.hub keeps it, in the folder OWNER_REPOSITORY_REF."""
    import torch

    repository, _, entry = name.rpartition(":")
    repository, _, ref = repository.partition(":")
    if repository.count("/") != 1 or not entry:
        raise SpecificationError(f"hub:{name} is not of the form hub:OWNER/REPOSITORY:NAME or hub:OWNER/REPOSITORY:REF:NAME")
    refs = [ref] if ref else ["main", "master"]
    folders = [Path(torch.hub.get_dir()) / f"{repository.replace('/', '_')}_{one}" for one in refs]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        asked = f"{repository}:{ref}" if ref else repository
        raise SpecificationError(
            f"hub:{name}: torch.hub has not fetched {asked} and nothing is downloaded here: torch.hub.list({asked!r}) does"
        )
    return lambda: torch.hub.load(str(found), entry, source="local")  # type: ignore[no-untyped-call]


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
        from landscape.input_checks import users_line

        where = users_line(error)
        raise SpecificationError(f"{place} raised {type(error).__name__} as it was imported: {error}{where}") from error
    return module

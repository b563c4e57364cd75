"""Is one of pilcro's packages hidden by a file or folder of the user's that has the same name?

`lattice`, `landscape` and `validation` are plain words: a `validation.py` beside a script, or in the folder where Python
starts, is found before the package that was installed.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "check_packages"]

PACKAGES = ("lattice", "landscape", "validation")


def check_packages(names: Sequence[str] = PACKAGES) -> None:
    """`ImportError` where Python finds a package somewhere else than beside this one.

    Nothing is imported.

    Raises
    ------
    ImportError
        in one sentence that names the file that is found instead
    """
    home = Path(__file__).resolve().parent.parent
    for name in names:
        found = _location(name)
        if found is None:
            raise ImportError(f"pilcro's package {name!r} is not beside {home / 'pilcro'}: pilcro is not completely installed")
        if found.resolve().parent != home:
            raise ImportError(
                f"{found} hides pilcro's own package {name!r}, which has the same name: rename it, "
                "or start Python in another folder"
            )


def _location(name: str) -> Path | None:
    """The folder or file of a top-level module."""
    loaded = sys.modules.get(name)
    specification: ModuleSpec | None = getattr(loaded, "__spec__", None) or find_spec(name)
    if specification is None:
        return None
    if specification.submodule_search_locations:
        return Path(next(iter(specification.submodule_search_locations)))
    return None if specification.origin is None else Path(specification.origin)

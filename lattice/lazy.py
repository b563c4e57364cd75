"""What is imported only when it is asked for (PEP 562), so that importing a package stays cheap; what to install for it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

__all__ = ["lazy_exports", "to_install"]


def lazy_exports(package: str, exports: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports these names on demand.

    Parameters
    ----------
    package : str
        the package's `__name__`
    exports : mapping from str to sequence of str
        module -> the names that the package exports from it, which are what the module defines, or its own modules;
        `"name as other"` exports it under another name

    Returns
    -------
    tuple
        `(__getattr__, __dir__)`, to be bound in the package under these names

    Examples
    --------
    >>> find, names = lazy_exports("lattice", {"lattice.errors": ["PilcroError"]})
    >>> find("PilcroError").__name__
    'PilcroError'
    >>> find("PilcroErorr")
    Traceback (most recent call last):
        ...
    AttributeError: module 'lattice' has no attribute 'PilcroErorr'
    """
    source: dict[str, tuple[str, str]] = {}
    for where, names in exports.items():
        for name in names:
            original, _, other = name.partition(" as ")
            source[other or original] = where, original

    def find(name: str) -> object:
        if name not in source:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        where, original = source[name]
        module = import_module(where)
        value: object = getattr(module, original) if hasattr(module, original) else import_module(f"{where}.{original}")
        setattr(sys.modules[package], name, value)  # the next time it is found without this function
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *source})

    return find, listed


def to_install(extra: str) -> str:
    """The command that installs what an optional part needs; pilcro is in no package index, so it starts from a clone.

    >>> to_install("vision")
    "pip install '.[vision]' in a clone of pilcro"
    """
    return f"pip install '.[{extra}]' in a clone of pilcro"

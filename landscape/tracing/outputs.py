"""Which of the tensors that a model returns is meant."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lattice import UnsupportedError

if TYPE_CHECKING:
    pass

__all__ = ["resolve_output"]


def resolve_output(structure: Any, output: Any) -> tuple[Any, Any]:
    """The tensor that `output` names among what a model returns, and the unit of it: what is left of the name, or None.

    Keys and indices lead through dictionaries, lists and tuples; where there is only one tensor none is needed. The rest names
    a unit: an index, or a tuple of indices. Raises `UnsupportedError`, which lists the paths that there are.

    >>> resolve_output({"a": ["x", "y"], "b": "z"}, ("a", 1, 5))
    ('y', 5)
    >>> resolve_output({"out": "x"}, None), resolve_output("x", (2, 3))
    (('x', None), ('x', (2, 3)))
    """
    path = output if isinstance(output, tuple) else () if output is None else (output,)
    inside, taken = structure, 0
    while isinstance(inside, Mapping | list | tuple):
        key = _key(inside, path[taken]) if taken < len(path) else None
        if key is not None:
            inside, taken = inside[key], taken + 1
            continue
        tensors = list(_tensors(inside))
        if len(tensors) != 1:
            raise UnsupportedError(_choices(structure, output))
        inside = tensors[0][1]
    rest = path[taken:]
    return inside, output if not taken else None if not rest else rest[0] if len(rest) == 1 else rest


def _key(container: Any, asked: Any) -> Any:
    """The key or index of a container that is asked for; None where it has none such."""
    if isinstance(asked, bool) or not isinstance(asked, Hashable):
        return None
    if asked in getattr(container, "_fields", ()):  # of a named tuple
        return container._fields.index(asked)
    keys = list(container) if isinstance(container, Mapping) else range(len(container))
    return next((key for key in keys if key == asked), None)


def _choices(structure: Any, output: Any) -> str:
    """The text of an error that lists the outputs of a model."""
    paths = [path[0] if len(path) == 1 else path for path, _ in _tensors(structure)]
    if not paths:
        return "the model returns no tensor"
    meant = "say which one is meant" if output is None else f"output={output!r} is not one of them"
    names = ", ".join(map(repr, paths))
    return f"the model returns {len(paths)} tensors, {names}: {meant}, as output={paths[0]!r}"


def _tensors(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The tensors inside nested dictionaries, lists and tuples, by path; what holds no numbers is passed over."""
    if isinstance(structure, Mapping | list | tuple):
        for key, part in structure.items() if isinstance(structure, Mapping) else enumerate(structure):
            yield from _tensors(part, (*path, key))
    elif structure is not None and not isinstance(structure, bool | int | float):
        yield path, structure

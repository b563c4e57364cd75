"""Values as JSON and arrays and back, from a closed list of types: what a file says is data, and nothing in it is run."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from lattice.errors import SpecificationError

__all__ = ["WRONG", "decode", "encode"]

Array = np.ndarray[Any, Any]
Types = Mapping[str, type]
MOST_SHOWN = 200  # characters of a value in an error


def encode(value: Any, types: Types, arrays: dict[str, Array], where: str = "") -> Any:
    """The value as JSON, its arrays put into `arrays` under the way that leads to them; `decode` makes it again.

    Texts, numbers and None are themselves; all else is {kind: content}; a sequence that is no list is a tuple. Of
    dataclasses and named tuples those in `types` are known, and nothing else: `SpecificationError` says what is in the way.

    >>> arrays = {}
    >>> encode({"a": (1, np.ones(2))}, {}, arrays), list(arrays)
    ({'dict': [['a', {'tuple': [1, {'array': 'a.1'}]}]]}, ['a.1'])
    """

    def inside(one: Any, name: object) -> Any:
        return encode(one, types, arrays, f"{where}.{name}" if where else f"{name}")

    if value is None or isinstance(value, bool | str) or type(value) in (int, float):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        while where in arrays:  # names with dots in them may meet
            where += "'"
        arrays[where] = np.asarray(value)
        return {"array": where} if isinstance(value, np.ndarray) else {"number": where}
    if isinstance(value, Fraction):
        return {"fraction": [value.numerator, value.denominator]}
    kind = type(value).__name__
    if types.get(kind) is type(value):
        if isinstance(value, Enum):
            return {"enum": [kind, value.name]}
        return {"of": [kind, {name: inside(getattr(value, name), name) for name in _names(type(value))}]}
    if isinstance(value, Mapping):
        pairs = enumerate(value.items())
        return {"dict": [[encode(key, types, arrays, f"{where}.{i}"), inside(one, _step(key, i))] for i, (key, one) in pairs]}
    if isinstance(value, AbstractSet):
        return {"set": [inside(one, i) for i, one in enumerate(sorted(value))]}
    if isinstance(value, Sequence) and not isinstance(value, bytes) and not hasattr(value, "_fields"):
        return {"list" if isinstance(value, list) else "tuple": [inside(one, i) for i, one in enumerate(value)]}
    shown = repr(value) if len(repr(value)) <= MOST_SHOWN else f"a {kind}"
    raise SpecificationError(f"{where} is {shown}: a file has no form for {type(value).__module__}.{kind}")


WRONG = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)  # what `decode` may raise


def decode(coded: Any, types: Types, arrays: Mapping[str, Array]) -> Any:
    """The value that `encode` wrote; one of `WRONG` where nothing of that kind could have been.

    >>> decode({"dict": [["a", {"tuple": [1, {"array": "a.1"}]}]]}, {}, {"a.1": np.ones(2)})
    {'a': (1, array([1., 1.]))}
    """
    if not isinstance(coded, dict):
        return coded
    ((kind, content),) = coded.items()
    if kind == "array":
        return arrays[content]
    if kind == "number":
        return arrays[content][()]
    if kind == "fraction":
        return Fraction(*content)
    if kind == "enum":
        name, member = content
        return types[name][member]  # type: ignore[index]
    if kind == "of":
        name, given = content
        if set(given) != set(_names(types[name])):
            raise ValueError(f"{name} has {', '.join(_names(types[name]))}, and not {', '.join(given)}")
        return types[name](**{key: decode(one, types, arrays) for key, one in given.items()})
    if kind == "dict":
        return {decode(key, types, arrays): decode(one, types, arrays) for key, one in content}
    sequence = {"set": frozenset, "list": list, "tuple": tuple}[kind]
    return sequence(decode(one, types, arrays) for one in content)


def _names(made: type) -> tuple[str, ...]:
    """What a value of this type is made of."""
    if is_dataclass(made):
        return tuple(field.name for field in fields(made) if field.init)
    return tuple(getattr(made, "_fields", ()))


def _step(key: Any, number: int) -> object:
    """The name of a mapping's entry on the way to an array."""
    return key if isinstance(key, str) else number

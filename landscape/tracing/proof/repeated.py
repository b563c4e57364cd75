"""Costly operations that two passes share are computed once: f(a) = f(b) where a and b are equal in every bit.

The lattice's pass calls the convolutions and matrix products that the model's pass called, with the same numbers where the two
are alike. What an operation of torch gives is a function of its arguments: where all of them are equal, the first result is
the second one too. Where one differs, as behind a layer that was misread, the operation is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Missed", "Results"]

aten: Any = torch.ops.aten
COSTLY = frozenset(
    (aten.convolution.default, aten.convolution_backward.default, aten.addmm.default, aten.mm.default, aten.bmm.default)
)
PLAIN = (torch.Tensor, torch.nn.Parameter)


class Missed(Exception):  # noqa: N818
    """Raised where one of two passes computes something costly that the other one does not."""


@dataclass(slots=True, eq=False)
class _Call:
    """The arguments of one call, until one of them is changed in place, and its results, copied before they are."""

    arguments: list[torch.Tensor]
    results: list[torch.Tensor | None]
    unchanged: bool = True

    def before_change(self, place: int) -> None:
        """What is at this place in memory is about to be changed."""
        self.unchanged = self.unchanged and all(_place(tensor) != place for tensor in self.arguments)
        self.results = [one.clone() if one is not None and _place(one) == place else one for one in self.results]


class Results:
    """The results of the costly operations of one pass, for one other pass.

    >>> x, results = torch.ones(2, 2), Results()
    >>> with results.kept():
    ...     first = x @ x
    >>> with results.used():
    ...     second = x.clone() @ x
    ...     third = (2 * x) @ x
    >>> torch.equal(second, first), third.tolist()
    (True, [[4.0, 4.0], [4.0, 4.0]])
    """

    def __init__(self) -> None:
        self._calls: dict[Any, list[_Call]] = {}
        self._places: dict[int, list[_Call]] = {}  # in memory, of the tensors of each call

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is computed within."""
        with _Kept(self._calls, self._places):
            yield

    @contextmanager
    def used(self, alone: bool = False) -> Iterator[None]:
        """Use what was kept, each result once; nothing is kept afterwards.

        `alone`: `Missed` is raised where something else is computed, or something that was kept is not used.
        """
        try:
            with _Used(self._calls, self._places, alone):
                yield
            if alone and any(self._calls.values()):
                raise Missed("results that were not used")
        finally:
            self._calls.clear()
            self._places.clear()


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation, and looks after the calls whose tensors one of them changes."""

    def __init__(self, calls: dict[Any, list[_Call]], places: dict[int, list[_Call]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls, self.places = calls, places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in COSTLY and not kwargs:
            return self.costly(func, args)
        for place, name in _written(func):
            for tensor in _pytree.tree_leaves(args[place] if place < len(args) else (kwargs or {}).get(name)):
                for call in self.places.pop(_place(tensor), ()) if isinstance(tensor, torch.Tensor) else ():
                    call.before_change(_place(tensor))
        return func(*args, **(kwargs or {}))

    def costly(self, func: Any, args: tuple[Any, ...]) -> Any:
        raise NotImplementedError


class _Kept(_Mode):  # type: ignore[no-untyped-call]
    def costly(self, func: Any, args: tuple[Any, ...]) -> Any:
        result = func(*args)
        arguments, key = _told_apart(func, args)
        call = _Call(arguments, list(result) if isinstance(result, tuple) else [result])
        if all(map(_plain, (*call.results, *arguments))):
            self.calls.setdefault(key, []).append(call)
            for tensor in (*arguments, *call.results):
                if tensor is not None:
                    self.places.setdefault(_place(tensor), []).append(call)
        return result


class _Used(_Mode):  # type: ignore[no-untyped-call]
    def __init__(self, calls: dict[Any, list[_Call]], places: dict[int, list[_Call]], alone: bool) -> None:
        super().__init__(calls, places)
        self.alone = alone

    def costly(self, func: Any, args: tuple[Any, ...]) -> Any:
        arguments, key = _told_apart(func, args)
        calls = self.calls.get(key, [])
        for i, call in enumerate(calls):
            if call.unchanged and all(map(_same, arguments, call.arguments)):
                del calls[i]
                results = tuple(None if part is None else part.detach() for part in call.results)
                return results if len(results) > 1 else results[0]
        if self.alone:
            raise Missed(str(func))
        return func(*args)


@cache
def _written(func: Any) -> list[tuple[int, str]]:
    """Place and name of the arguments that an operation changes."""
    arguments = enumerate(func._schema.arguments)
    return [(place, one.name) for place, one in arguments if one.alias_info is not None and one.alias_info.is_write]


def _told_apart(func: Any, args: tuple[Any, ...]) -> tuple[list[torch.Tensor], Any]:
    """The tensors among the arguments, and all that can be compared at once."""
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
    kinds = ((tuple(arg.shape), arg.dtype, arg.device) if isinstance(arg, torch.Tensor) else _hashable(arg) for arg in args)
    return tensors, (func, *kinds)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> bool:
    """Is it an ordinary tensor in memory, or nothing?"""
    return value is None or (type(value) in PLAIN and value.layout == torch.strided)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if _plain(tensor) else 0


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Are all numbers equal? Those of one place in memory are, and what is no number equals nothing."""
    if not _plain(one):
        return False
    return (one.data_ptr() == other.data_ptr() and one.stride() == other.stride()) or torch.equal(one, other)

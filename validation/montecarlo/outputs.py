"""Which of a model's outputs is meant, in the words of `landscape.predict(output=...)`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError, UnsupportedError
from lattice.checks import is_whole

__all__ = ["checked_output", "selected"]


def checked_output(output: Any) -> tuple[str | int, ...]:
    """`output` as names, one for each container from the outside in, and then the spatial index of one output unit.

    >>> (
    ...     checked_output(None),
    ...     checked_output("out"),
    ...     checked_output(("out", 3, 4)),
    ...     checked_output(("out", (3, 4))),
    ... )
    ((), ('out',), ('out', 3, 4), ('out', 3, 4))
    """
    parts: list[Any] = []
    for part in () if output is None else output if isinstance(output, tuple) else (output,):
        parts += part if isinstance(part, tuple) else [part]
    if not all(isinstance(part, str) or is_whole(part) for part in parts):
        raise SpecificationError(
            f"output is {output!r}; it is None, the name or number of one output of a model that returns several, the spatial "
            "index of one output unit, such as (3, 4), or both, such as ('out', 3, 4)"
        )
    return tuple(part if isinstance(part, str) else int(part) for part in parts)


def selected(returned: Any, output: tuple[str | int, ...]) -> torch.Tensor:
    """The tensor (N, ...) that `output` means of what a model returned, or its channels (N, channels) at one output unit.

    Raises `UnsupportedError` where the model returns several tensors and none of them is named, or no tensor of floats;
    `SpecificationError` for a unit that the output does not have.

    >>> selected(
    ...     {"out": torch.ones(2, 5, 4, 4), "aux": torch.ones(2, 7)}, ("out", 3, 0)
    ... ).shape
    torch.Size([2, 5])
    """
    rest = output
    while isinstance(returned, Mapping | list | tuple):
        items = returned.items() if isinstance(returned, Mapping) else enumerate(returned)
        known = {name: value for name, value in items if value is not None}
        if not rest or rest[0] not in known:
            raise UnsupportedError(
                f"the model returns {type(returned).__name__} of {', '.join(map(repr, known)) or 'nothing'}, and output is "
                f"{output or None!r}: say which of them is meant, as in output={next(iter(known), 'out')!r}, or wrap the model "
                "so that it returns one tensor of floats (N, ...)"
            )
        returned, rest = known[rest[0]], rest[1:]
    if not isinstance(returned, torch.Tensor) or not returned.ndim or not returned.is_floating_point():
        raise UnsupportedError(
            f"the model returns {type(returned).__name__}; wrap it so that it returns one tensor of floats (N, ...)"
        )
    if not rest:
        return returned
    spatial, unit = tuple(returned.shape[2:]), [part for part in rest if isinstance(part, int)]
    if len(unit) != len(rest) or len(unit) != len(spatial) or not all(0 <= i < n for i, n in zip(unit, spatial, strict=True)):
        raise SpecificationError(
            f"output is {output!r}: {rest} is no unit of an output of shape {tuple(returned.shape)}, of {spatial} positions"
        )
    return returned.flatten(2)[:, :, int(np.ravel_multi_index(unit, spatial))]

"""Random numbers that an exported graph cannot know: those of Python and NumPy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lattice import UnsupportedError

__all__ = ["only_torch_draws"]


@contextmanager
def only_torch_draws() -> Iterator[None]:
    """Refuses what draws from the global generators of Python or NumPy within, and leaves them as they were.

    An exported graph holds one draw of them as if it were the rule.
    """
    python = random.getstate()
    numpy: Any = np.random.get_state()  # noqa: NPY002 - it is the global one that is looked at
    try:
        yield
        now: Any = np.random.get_state()  # noqa: NPY002
        if random.getstate() != python or now[2] != numpy[2] or not np.array_equal(now[1], numpy[1]):
            raise UnsupportedError(
                "the model draws random numbers of Python or NumPy, which an exported graph does not know; draw them with torch"
            )
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

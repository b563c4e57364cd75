"""The versions that a number depends on."""

import platform

import numpy as np
import torch

from lattice.version import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """The versions that a number depends on."""
    return {
        "pilcro": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }

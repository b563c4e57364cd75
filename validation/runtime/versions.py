"""The versions that a number depends on."""

import platform
from importlib import metadata

import numpy as np
import torch

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """The versions that a number depends on."""
    try:
        own = metadata.version("pilcro")
    except metadata.PackageNotFoundError:
        own = "not installed"
    return {"pilcro": own, "python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}

"""Hypothesis strategies under the short name that tests import them by: see `lattice.testing.strategies`."""

from lattice.testing.strategies import *  # noqa: F403
from lattice.testing.strategies import __all__ as __all__

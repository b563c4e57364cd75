"""The rules that turn ATen operations into lattice ops, one operation each, all of them registered."""

import landscape.aten_layers
import landscape.aten_noise
import landscape.aten_pointwise
import landscape.aten_products
import landscape.aten_views  # noqa: F401
from landscape.rules import REASONS, RULES

__all__ = ["REASONS", "RULES"]

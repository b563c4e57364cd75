"""The rules that turn ATen operations into lattice ops, one operation each, all of them registered."""

import landscape.tracing.aten.attention.contraction
import landscape.tracing.aten.attention.forms
import landscape.tracing.aten.layers
import landscape.tracing.aten.lengths
import landscape.tracing.aten.noise
import landscape.tracing.aten.pointwise
import landscape.tracing.aten.products
import landscape.tracing.aten.reductions
import landscape.tracing.aten.views  # noqa: F401
from landscape.tracing.aten.registry import REASONS, RULES

__all__ = ["REASONS", "RULES"]

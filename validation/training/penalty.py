"""When and how strongly the landscape is penalised, and the whole loss of one training step in one forward pass."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional

from lattice import SpecificationError
from lattice.checks import is_real, is_whole
from validation.gradients.input_gradient import input_gradient
from validation.gradients.objective import Reduction, curvature_penalty, importance_map, target_penalty
from validation.runtime.logits import logits as answered
from validation.runtime.process_group import mean_over_processes

__all__ = ["Objective", "Penalty"]

KINDS = ("none", "curvature", "target", "norm")


@dataclass(frozen=True, slots=True)
class Penalty:
    """alpha L(I'(f)) of Eq. 15, every T steps with weight alpha T (Section 3.3.3).

    Defaults are the paper's: T = 10, k = 3, alpha in {1, 10, 100}. The paper does not say whether its alpha was for sums or
    means over pixels. "literal": Eq. 16 is a variance, so a mean, and Eq. 17 a sum. On d x d pixels "sum" weighs (d - 2)^2
    times more than "mean" for the curvature with k = 3 (900 at 32 pixels), d^2 times for the target (1024). The kind "norm"
    is a comparison, not the paper's: the mean squared norm of the input gradient, whatever its shape.

    Raises `SpecificationError` for values outside of these.
    """

    kind: Literal["none", "curvature", "target", "norm"] = "none"
    """none, curvature (Eq. 16), target (Eq. 17), or norm (the gradient's size alone, for comparison)"""
    alpha: float = 10.0
    """weight alpha_0"""
    interval: int = 10
    """T: the penalty is taken every T steps, T times as strong"""
    width: int = 3
    """k of the Laplacian"""
    warmup: int = 0
    """steps over which the weight rises linearly from zero (the paper has none; short runs collapse without)"""
    reduction: Literal["literal", "sum", "mean"] = "literal"
    """over pixels: literal (Eq. 16 a mean, Eq. 17 a sum), sum or mean"""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.reduction not in ("literal", "sum", "mean"):
            raise SpecificationError(f"{self}: kind is one of {', '.join(KINDS)}; reduction is literal, sum or mean")
        numbers = is_real(self.alpha) and is_whole(self.interval) and is_whole(self.warmup) and is_whole(self.width)
        if not numbers or self.alpha < 0 or self.interval < 1 or self.warmup < 0:
            raise SpecificationError(
                f"{self}: alpha is finite and not negative; interval 1 at least, warmup not negative, width whole"
            )
        if self.width < 3 or self.width % 2 == 0:
            raise SpecificationError(f"{self}: the width of a Laplacian is odd (it has a centre), and 3 at least")

    def weight(self, step: int) -> float:
        """alpha T min(1, step / warmup) at steps 0, T, 2T, ..., and 0 at all others.

        >>> [Penalty("curvature", alpha=2.0, interval=3).weight(step) for step in range(5)]
        [6.0, 0.0, 0.0, 6.0, 0.0]
        """
        if self.kind == "none" or step % self.interval:
            return 0.0
        return self.alpha * self.interval * (min(1.0, step / self.warmup) if self.warmup else 1.0)

    def of_map(self, importance: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """L(I'): Eq. 16 or 17 of a map, without its weight."""
        if self.kind == "curvature":
            return curvature_penalty(importance, self.width, reduction=self._reduction("mean"))
        if self.kind == "target":
            if target is None:
                raise SpecificationError("a target penalty without its target: give smoothness_target(training images)")
            return target_penalty(importance, target, reduction=self._reduction("sum"))
        raise SpecificationError(f"the penalty {self.kind!r} is not one of a map")

    def _reduction(self, literal: Reduction) -> Reduction:
        return literal if self.reduction == "literal" else self.reduction

    def of_model(
        self, model: torch.nn.Module, images: torch.Tensor, uniforms: torch.Tensor, target: torch.Tensor | None = None
    ) -> torch.Tensor:
        """L(I'(f)) of a batch, in evaluation mode; the classes are drawn by `uniforms` (B,)."""
        if self.kind == "norm":
            return input_gradient(model, images, uniforms).square().flatten(1).sum(dim=1).mean()
        return self.of_map(importance_map(model, images, uniforms=uniforms, reduce=mean_over_processes), target)


class Objective(torch.nn.Module):
    """cross-entropy + weight * L(I'(f)) (Eq. 15) in ONE forward of ONE module, which is what several processes need.

    The training-mode forward comes first: a penalty taken before it would hold a graph over running statistics that the
    forward then moves. `target` (positions) is for the target penalty.
    """

    target: torch.Tensor | None

    def __init__(
        self,
        model: torch.nn.Module,
        penalty: Penalty | None = None,
        target: torch.Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.model, self.penalty = model, penalty or Penalty()
        self.label_smoothing, self.precision = label_smoothing, precision
        self.register_buffer("target", target, persistent=False)

    def forward(self, images: torch.Tensor, labels: torch.Tensor, uniforms: torch.Tensor, weight: float) -> Any:
        """(loss with its penalty, cross-entropy, penalty, logits); all but the first carry no gradient."""
        half = torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")
        with half:
            logits = answered(self.model, images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        if not weight:
            return loss, loss.detach(), torch.zeros_like(loss), logits.detach()
        penalty = self.penalty.of_model(self.model, images, uniforms, self.target)
        return loss + weight * penalty, loss.detach(), penalty.detach(), logits.detach()

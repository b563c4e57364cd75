"""When and how strongly the landscape is penalised, and the whole loss of one training step in one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional

from lattice import SpecificationError
from lattice.checks import is_real, is_whole
from validation.gradients.input_gradient import input_gradient
from validation.gradients.objective import Border, Reduction, curvature_penalty, importance_map, target_penalty
from validation.runtime.logits import logits as answered
from validation.runtime.process_group import mean_over_processes

__all__ = ["Objective", "Penalty"]

CHOICES = {
    "kind": ("none", "curvature", "target", "norm"),
    "reduction": ("mean", "sum", "literal"),
    "reading": ("alpha", "alpha_0"),
    "border": ("unpadded", "replicate", "reflect"),
}


@dataclass(frozen=True, slots=True)
class Penalty:
    """weight * L(I'(f)) of Eq. 15, at steps 0, T, 2T, ... (Section 3.3.3); the weight at those steps is `alpha` itself.

    Section 3.3.3 defines alpha = alpha_0 T, and Section 4.1 lists alpha in {1, 10, 100}: alpha already contains T. With
    `reading="alpha_0"` the number given is alpha_0, and is multiplied by T. Defaults are the paper's: T = 10, k = 3.

    Eq. 17 is printed as a sum over pixels. Its mean is the default: one set of weights for 32 x 32 and for 224 x 224 pixels
    fits no sum, and at initialisation of ResNet-50 on 32 x 32 pixels the summed penalty's gradient with alpha = 100 is hundreds
    of times that of the cross-entropy. "literal": Eq. 16 is a variance, so a mean, and Eq. 17 a sum. On d x d pixels "sum"
    weighs (d - 2)^2 times more than "mean" for the curvature with k = 3 (900 at 32 pixels), d^2 times for the target (1024).
    The kind "norm" is a comparison, not the paper's: the mean squared norm of the input gradient, whatever its shape.

    Raises
    ------
    SpecificationError
        For values outside of these.
    """

    kind: Literal["none", "curvature", "target", "norm"] = "none"
    """none, curvature (Eq. 16), target (Eq. 17), or norm (the gradient's size alone, for comparison)"""
    alpha: float = 10.0
    """weight of the penalty at the steps that have one"""
    interval: int = 10
    """T: steps from one penalty to the next"""
    width: int = 3
    """k of the Laplacian"""
    warmup: int = 0
    """steps over which the penalty's weight rises linearly from zero (the paper has none)"""
    reduction: Literal["mean", "sum", "literal"] = "mean"
    """over pixels: mean, sum, or literal (Eq. 16 a mean, Eq. 17 a sum)"""
    reading: Literal["alpha", "alpha_0"] = "alpha"
    """what alpha is: the weight as applied, or alpha_0, which is multiplied by T"""
    border: Border = "unpadded"
    """of the curvature's Laplacian: unpadded (as printed; blind to the corners), replicate or reflect"""

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SpecificationError(f"{self}: {name} is one of {', '.join(allowed)}")
        numbers = is_real(self.alpha) and is_whole(self.interval) and is_whole(self.warmup) and is_whole(self.width)
        if not numbers or self.alpha < 0 or self.interval < 1 or self.warmup < 0:
            raise SpecificationError(
                f"{self}: alpha is finite and not negative; interval 1 at least, warmup not negative, width whole"
            )
        if self.width < 3 or self.width % 2 == 0:
            raise SpecificationError(f"{self}: the width of a Laplacian is odd (it has a centre), and 3 at least")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Penalty":
        """The penalty of plain values, as they are saved.

        Runs from before `reading` existed multiplied alpha by T, and reduced as printed where they did not say otherwise;
        values without it are read so.

        Parameters
        ----------
        values : Mapping
            Values by the names of the fields.

        Returns
        -------
        Penalty
            With the fields that are missing at their defaults.

        Examples
        --------
        >>> Penalty.of(
        ...     {"kind": "target", "alpha": 1.0, "interval": 10, "reduction": "literal"}
        ... ).weight(0)
        10.0
        """
        old = {} if "reading" in values or not values else {"reading": "alpha_0", "reduction": "literal"}
        return cls(**{**old, **values})

    @property
    def applied(self) -> float:
        """The weight at steps that have a penalty, after its warm-up."""
        if self.kind == "none":
            return 0.0
        return self.alpha * self.interval if self.reading == "alpha_0" else self.alpha

    def weight(self, step: int) -> float:
        """alpha min(1, step / warmup) at steps 0, T, 2T, ..., and 0 at all others (alpha_0 T for alpha, where that was given).

        Parameters
        ----------
        step : int
            Updates made so far.

        Returns
        -------
        float
            What the penalty is multiplied by at this step.

        Examples
        --------
        >>> [Penalty("curvature", alpha=2.0, interval=3).weight(step) for step in range(5)]
        [2.0, 0.0, 0.0, 2.0, 0.0]
        >>> [
        ...     Penalty("curvature", alpha=2.0, interval=3, reading="alpha_0").weight(step)
        ...     for step in range(5)
        ... ]
        [6.0, 0.0, 0.0, 6.0, 0.0]
        """
        if step % self.interval:
            return 0.0
        return float(self.applied * (min(1.0, step / self.warmup) if self.warmup else 1.0))

    def of_map(self, importance: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """L(I'): Eq. 16 or 17 of a map, without its weight.

        Parameters
        ----------
        importance : torch.Tensor
            I', over input positions, as `importance_map` returns it.
        target : torch.Tensor or None, default None
            S, for the kind "target".

        Returns
        -------
        torch.Tensor
            A number, differentiable in the map.

        Raises
        ------
        SpecificationError
            If the kind is not one of a map, or a target is missing.
        """
        if self.kind == "curvature":
            return curvature_penalty(importance, self.width, reduction=self._reduction("mean"), border=self.border)
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
        """L(I'(f)) of a batch, in evaluation mode.

        Parameters
        ----------
        model : torch.nn.Module
            Returns logits (B, classes).
        images : torch.Tensor
            (B, channels, *positions), floating point.
        uniforms : torch.Tensor
            (B,): the numbers that the classes are drawn by.
        target : torch.Tensor or None, default None
            S, for the kind "target".

        Returns
        -------
        torch.Tensor
            A number, differentiable in the parameters.
        """
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

"""What a network answers to images, or why it cannot be asked."""

import torch

from lattice import SpecificationError, UnsupportedError
from validation.runtime.preserve_state import call_model

__all__ = ["logits", "probabilities"]


def logits(model: torch.nn.Module, images: torch.Tensor, classes: int = 0) -> torch.Tensor:
    """The model's logits (B, outputs); raises `UnsupportedError` for anything else that it returns.

    Raises `SpecificationError` where it has fewer outputs than `classes`.
    """
    found = call_model(model, images)
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise UnsupportedError(f"the model returns a {type(found).__name__}; it must return logits (B, classes)")
    if found.shape[1] < classes:
        raise SpecificationError(f"the model has {found.shape[1]} outputs, and there is a label {classes - 1}")
    return found


def probabilities(model: torch.nn.Module, images: torch.Tensor, classes: int = 0) -> torch.Tensor:
    """The softmax of `logits`, in float64.

    >>> probabilities(torch.nn.Flatten(), torch.zeros(1, 1, 2, 2))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]], dtype=torch.float64)
    """
    return logits(model, images, classes).double().softmax(dim=1)

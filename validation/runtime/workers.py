"""Several processes, one estimate: torchrun's workers, and arithmetic that is the same on each of them.

Every worker computes other draws and holds zero where it computed nothing; then x + 0 + ... + 0 = x, exactly, so that an
all-reduce of float64 sums merges them to the bit.
"""

import atexit
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed

from lattice import SpecificationError

__all__ = ["Workers", "checked_device", "exact_arithmetic", "leave_group", "one_thread_each"]

Array = np.ndarray[Any, Any]
GRACE = 0.2  # seconds


@dataclass(frozen=True)
class Workers:
    """This process among `world` that make the same call; `rank` 0 .. world - 1."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def here(cls, device: str) -> "Workers":
        """The workers of the process group, or of the torchrun that launched this process; else this process alone.

        Under torchrun every worker must make the call. "auto" and "cuda" mean the GPU of this process's local rank.
        """
        checked_device(device)
        where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        if not _together(where):
            return cls(0, 1, where)
        if str(where) == "cuda":
            where = torch.device("cuda", distributed.get_node_local_rank(0) % torch.cuda.device_count())
        return cls(distributed.get_rank(), distributed.get_world_size(), where)

    def sum(self, array: Array) -> Array:
        """The sum over workers, on each of them; the array itself where there is one."""
        if self.world == 1:
            return array
        total = torch.from_numpy(array.astype(np.float64))
        if distributed.get_backend() == "nccl":
            total = total.to(self.device)
        distributed.all_reduce(total)
        return np.asarray(total.cpu())


def checked_device(device: str) -> None:
    """`SpecificationError` for a device that is not there: "auto", "cpu" and, where torch sees one, "cuda" are."""
    try:
        kind = "cpu" if device == "auto" else torch.device(device).type
    except (RuntimeError, TypeError):
        kind = "unknown"
    cuda = torch.cuda.is_available()
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not cuda):
        raise SpecificationError(
            f"device is {device!r}; it is {'auto, cpu or cuda' if cuda else 'auto or cpu: torch sees no CUDA device here'}"
        )


def _together(device: torch.device) -> bool:
    """Whether there is a process group; under torchrun one is made, and kept until the process ends."""
    if not distributed.is_available():
        return False
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")
        atexit.register(leave_group)
    return bool(distributed.is_initialized())


def leave_group() -> None:
    """Leave the process group, if there is one, and wait until torch's threads have released what they exchanged.

    They need the interpreter's lock for that, and one that asks for it when the interpreter has ended aborts the process.

    >>> leave_group()
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(GRACE)


def _precisions() -> list[tuple[Any, str, Any]]:
    """Where torch may round float32 products to fewer bits, and the value that forbids it."""
    if hasattr(torch.backends.cudnn, "conv"):  # torch >= 2.9 refuses a mix of this and the older names
        return [
            (place, "fp32_precision", "ieee")
            for backend, names in ((torch.backends.cuda, ("matmul",)), (torch.backends.cudnn, ("conv", "rnn")))
            for place in (getattr(backend, name) for name in names)
        ] + [(getattr(torch.backends.mkldnn, name), "fp32_precision", "ieee") for name in ("matmul", "conv", "rnn")]
    return [(torch.backends.cuda.matmul, "allow_tf32", False), (torch.backends.cudnn, "allow_tf32", False)]


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """float32 is float32 (no TF32, no bfloat16, no autocast) and gradients are on; afterwards all is as it was."""
    before = [(place, name, getattr(place, name)) for place, name, _ in _precisions()]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        try:
            for place, name, value in _precisions():
                setattr(place, name, value)
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """One torch thread inside each operation; as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

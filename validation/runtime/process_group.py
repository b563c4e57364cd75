"""One process or many: what torchrun says about this one, and the mean of a map over all of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel

from lattice import SpecificationError
from validation.runtime.workers import leave_group

__all__ = ["World", "averaging", "is_first", "mean_over_processes", "world"]


class _Mean(torch.autograd.Function):
    """(1/R) sum_r x_r. Every process computes the same penalty of it, so the cotangent is the same everywhere: its own mean.

    `DistributedDataParallel` averages the gradients over processes, which is the 1/R that is missing here.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> torch.Tensor:
        return cotangent


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean over all processes, differentiable: a penalty is not linear in the map, so the map must be averaged first.

    >>> mean_over_processes(torch.ones(2))  # one process
    tensor([1., 1.])
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    mean: torch.Tensor = _Mean.apply(values)
    return mean


@dataclass(frozen=True)
class World:
    """This process among `size`: the first one (rank 0) writes files and speaks."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """The rows of a batch that are this process's."""
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def agree(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return bool(told)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over processes."""
        return mean_over_processes(values.detach())

    def told_by_first(self, *tensors: torch.Tensor) -> None:
        """Fill tensors with the first process's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)


@contextmanager
def averaging(module: torch.nn.Module, place: World) -> Iterator[torch.nn.Module]:
    """The module, its gradients averaged over all processes by `DistributedDataParallel` where there are several.

    (1/R) sum_r of the gradients of R processes. Inside `world`, which leaves the process group after this has released it.

    >>> alone = World(0, 1, torch.device("cpu"))
    >>> with averaging(torch.nn.Linear(2, 3), alone) as module:
    ...     module
    Linear(in_features=2, out_features=3, bias=True)
    """
    if place.size == 1:
        yield module
        return
    wrapped = DistributedDataParallel(module)
    try:
        yield wrapped
    except BaseException:
        # The traceback keeps the module, and its reducer would be the last to release the process group, after `world` has:
        # it would wait for the group's threads and hold the interpreter's lock, for which one of those threads may wait.
        del wrapped.reducer, wrapped.logger
        raise


def is_first() -> bool:
    """Whether this is the process that speaks, as torchrun says; True without it."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def world(device: str = "auto", patience: timedelta | None = None) -> Iterator[World]:
    """Join the processes that torchrun started (WORLD_SIZE, RANK, LOCAL_RANK), or be the only one.

    `device`: "auto" (a GPU for each process where there is one), "cpu" or "cuda". Raises `SpecificationError` for another.
    `patience`: how long they wait for each other (torch's default: half an hour or less).
    """
    if device not in ("auto", "cpu", "cuda"):
        raise SpecificationError(f"device is {device!r}; it is auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise SpecificationError("device is 'cuda', and torch sees no CUDA device here; use auto or cpu")
    cuda = device != "cpu" and torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local % torch.cuda.device_count()) if cuda else torch.device("cpu")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, place)
        return
    if cuda:
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=patience)
    try:
        yield World(distributed.get_rank(), size, place)
    finally:
        leave_group()

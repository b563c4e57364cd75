r"""A trace proves itself: the lattice with the model's own numbers is compared with the model, value and gradient.

`torch.export` gives the forward graph of one mode. It knows no `no_grad` regions, no hooks and no backward functions, and
whoever reads it can drop or misread a call. At one random input x and cotangent v, in double precision,

.. math:: f_{lattice}(x) = f_{model}(x), \qquad v^T J_{lattice}(x) = v^T J_{model}(x)

must hold to 1e-9 of their size, in training mode with the same masks. Functions that are equal differ at no point, and smooth
functions that differ are equal at a random point with probability zero. What a mask drops as a whole, or a gradient that is
zero as a whole, shows nothing; then the next random point is looked at, the second half of them with the signs of filters
turned in both passes. Where all of them show nothing, the lattice counts as not compared, unless no path of it comes down to
the input: then the gradient is zero as it must be. Weights that are all zero and let no gradient pass (a head that begins so)
are random numbers in both.

Most networks without attention need no double precision. In single precision, in half the time, lattice and model give the very
same bits, and every convolution and product of matrices of the one reads the same bits as one of the other, forwards and
backwards, and none is left over: a branch that a larger one hides is compared where it computes. What changes no number of
these by 6e-8 of it is not seen so. Where anything differs at all, double precision decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf, prod
from pathlib import Path
from typing import Any

import torch

from landscape.tracing.graph.constants import RANDOM, operation
from landscape.tracing.graph.randomness import only_torch_draws
from landscape.tracing.graph.reader import Reader, named_tensors
from landscape.tracing.proof.closed import closing, opened, turn_signs
from landscape.tracing.proof.repeated import Results
from landscape.tracing.proof.replay import as_in_model, replay
from landscape.tracing.proof.running import Run, Unfinished, copied, input_gradient, run_model, seeded
from lattice import Add, AssumptionError, Dropout, Lattice, Norm, Op, PilcroError, UnsupportedError
from lattice.errors import listed
from lattice.geometry.receptive_field import cells_seen
from lattice.network.ops import Rearrangement, Weighted, Windowed

__all__ = ["prove"]

CLOSE = 1e-9  # relative, in double precision
ROUNDING = 10  # times what changing the input by so much changes
NEARBY = (2, 3, 4, 5)  # seeds of such changes
POINTS = 16  # at most: nine in ten of masks that drop everything nine times in ten are kept once by then
CAUSES = (
    "Likely causes: a torch.no_grad region or a detached tensor, a backward hook, an autograd.Function with a backward of its "
    "own, an operation in place on a view, a random number; if there is none of them, please report it"
)


class Differ(Exception):  # noqa: N818
    """Raised where a lattice and its model differ; the text says where."""


@contextmanager
def _refused() -> Iterator[None]:
    """What torch cannot run as the lattice says (a norm of one value, for example) is no lattice of this model."""
    try:
        yield
    except PilcroError:
        raise
    except (ValueError, RuntimeError) as error:
        raise Differ(f"the lattice that was read cannot be run: {error}") from error


def prove(model: torch.nn.Module, lattice: Lattice, reader: Reader, select: Callable[[Any], Any]) -> str:
    """Compare a lattice with its model, which is in the mode that is meant; returns why that could not be done, or "".

    `select` takes the output that is meant from what the model returns. A copy of the model runs in single precision, if that
    gives the same bits; else in double precision, or in its own type, to the root of its resolution, where the model or its
    graph is fixed to that. Raises `UnsupportedError`, which names the first layer where values part or, where these agree, the
    gradient that parts nearest to the output.
    """
    if any(tensor.is_meta for tensor in reader.tensors.values()):
        return "the model is on the meta device, without numbers"
    needed, there = _memory(lattice, reader)
    if needed > there:
        takes = f"about {needed / 1e9:.1f} GB of memory, and {there / 1e9:.1f} GB are free"
        return f"a pass of the model in double precision takes {takes}"
    own, reason, apart = reader.constants.dtype, "", ""
    if own == torch.float32 and _same_bits(model, lattice, reader, select):
        return ""
    for dtype in dict.fromkeys((torch.float64, own)):
        try:
            with torch.inference_mode(False), copied(model, dtype, own) as copy:
                closed = bool(closing(lattice, reader, reader.tensors)) if copy is model else opened(copy, lattice, reader)
                Comparison(copy, lattice, reader, select, dtype, closed, copy is not model).compare()
            return ""
        except Unfinished as obstacle:
            reason = str(obstacle)
        except Differ as difference:
            apart = str(difference)
            if not reader.rounded:
                break
        except UnsupportedError:
            if dtype == own:
                raise
    if apart:
        raise UnsupportedError(apart)
    return reason


def _same_bits(model: torch.nn.Module, lattice: Lattice, reader: Reader, select: Callable[[Any], Any]) -> bool:
    """Does a copy of the model in single precision give the very bits that the lattice gives?"""
    if reader.rounded or any(map(_draws, reader.graph.nodes)):
        return False
    try:
        with torch.inference_mode(False), copied(model, torch.float32, torch.float32) as copy:
            if copy is model or opened(copy, lattice, reader):
                return False
            return Comparison(copy, lattice, reader, select, torch.float32, is_copy=True).same_bits()
    except Exception:  # what it is, the comparison in double precision says
        return False


@dataclass(frozen=True, slots=True)
class Point:
    """A random input of this size, and the seed of what the model draws there."""

    x: torch.Tensor
    size: float
    seed: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A copy of a model and its lattice, to be run at the same points in one type."""

    model: torch.nn.Module
    lattice: Lattice
    reader: Reader
    select: Callable[[Any], Any]
    dtype: torch.dtype
    closed: bool = False  # is its gradient zero at every point?
    is_copy: bool = False  # or the model itself, whose weights stay as they are

    @property
    def close(self) -> float:
        """The relative difference that counts as none."""
        return CLOSE if self.dtype == torch.float64 else float(torch.finfo(self.dtype).eps) ** 0.5

    def compare(self) -> None:
        """Raise `Differ` or `Unfinished`, or neither where the two are alike."""
        unseen, gradient = set(self.reader.masks), self.closed
        for seed in range(POINTS):
            if self.is_copy and not gradient and seed >= POINTS // 2:
                turn_signs(self.model, self.lattice, self.reader, seed)
            point, truth, replayed = self._passes(seed)
            if replayed.output.shape != truth.output.shape:
                shapes = f"{tuple(replayed.output.shape)}, the model {tuple(truth.output.shape)}"
                raise Differ(f"the lattice gives an output of shape {shapes}")
            apart = (_apart(replayed.output, truth.output), _apart(replayed.gradient, truth.gradient))
            if max(apart) > self.close:  # what was computed once for both might be what is wrong
                replayed = self._run_lattice(point, truth)
                apart = (_apart(replayed.output, truth.output), _apart(replayed.gradient, truth.gradient))
            if apart[0] <= self.close < apart[1] and self.reader.batch == 1:
                apart = (apart[0], min(apart[1], self._apart_in_a_pair(point, replayed)))
            if max(apart) > self.close and not self._is_rounding(point, replayed, truth):
                if apart[0] <= self.close:
                    self._check_not_cancelled(point, truth)
                raise Differ(self._where(point, apart))
            unseen &= self._dropped(truth)
            gradient = gradient or bool(truth.gradient.any())
            if gradient and not unseen:
                return
        if unseen:
            raise Unfinished(f"a mask drops everything at each of {POINTS} random inputs ({listed(sorted(unseen))})")
        if cells_seen(self.lattice).any():  # where no path comes down to the input, zero is what it must be
            raise Unfinished(f"its input gradient is zero at each of {POINTS} random inputs, so that it shows nothing")

    def same_bits(self) -> bool:
        """Do both give the same bits, from operations that read the same bits? Left as soon as one does not."""
        x = self._normal((self.reader.batch, *self.lattice.input_shape), 1).requires_grad_()
        forwards, backwards = Results(), Results()
        with torch.enable_grad(), seeded(x.device), only_torch_draws():
            with forwards.kept():
                output = self.select(self.model(x.clone()))
            with forwards.used(alone=True):
                values = self._values(x, Run(output, output))
            if not torch.equal(values[-1], output) or not output.isfinite().all():
                return False
            cotangent = self._cotangent(output, 1.0)
            with backwards.kept():
                truth = input_gradient(output, x, cotangent)
            with backwards.used(alone=True):
                replayed = input_gradient(values[-1], values[0], cotangent)
        return torch.equal(replayed, truth) and bool(truth.isfinite().all() and truth.any())

    def _passes(self, seed: int) -> tuple[Point, Run, Run]:
        """One pass of the model and one of the lattice at a random point, small where numbers grow out of range."""
        for size in (1.0, float(torch.finfo(self.dtype).tiny) ** 0.25):
            x = size * self._normal((self.reader.batch, *self.lattice.input_shape), 1 + 10 * seed)
            point = Point(x, size, seed)
            results = Results()
            with results.kept():
                truth = self._run_model(point)
            with results.used():
                replayed = self._run_lattice(point, truth)
            if all(part.isfinite().all() for run in (truth, replayed) for part in (run.output, run.gradient)):
                return point, truth, replayed
        raise Unfinished("its values or gradients are not finite at a random input")

    def _masks(self, truth: Run) -> dict[Any, torch.Tensor]:
        """What the model has drawn, by the call of its graph."""
        draws = [call for call in self.reader.graph.nodes if _draws(call)]
        if len(draws) != len(truth.drawn):
            counts = f"{len(truth.drawn)} times and its exported graph {len(draws)} times"
            raise Differ(f"the model draws random numbers {counts}, so that its masks are not known. {CAUSES}")
        return dict(zip(draws, truth.drawn, strict=True))

    def _dropped(self, truth: Run) -> set[str]:
        """The nodes whose mask has let nothing through."""
        masks = self._masks(truth)
        return {name for name, (draw, mask_of) in self.reader.masks.items() if draw in masks and not mask_of(masks[draw]).any()}

    def _apart_in_a_pair(self, point: Point, replayed: Run) -> float:
        """How far the gradient is from that of the first of two equal samples, whose outputs are the same.

        Torch's backward pass of a batch norm in evaluation mode confuses channels and positions of a batch of one where the
        gradient comes from a transposed tensor (2.14 on the CPU): that is not the gradient of the function.
        """

        def cotangent(output: torch.Tensor) -> torch.Tensor:
            first = self._cotangent(output[:1], point.size)
            return torch.cat([first, torch.zeros_like(first)])

        try:
            pair = run_model(self.model, torch.cat([point.x, point.x]), cotangent, self.select, random=False)
        except (PilcroError, Unfinished):  # it takes no batch of two
            return inf
        if pair.output.shape[0] != 2 or _apart(pair.output[:1], replayed.output) > self.close:
            return inf
        return max(_apart(pair.gradient[:1], replayed.gradient), float(pair.gradient[1:].abs().max()))

    def _is_rounding(self, point: Point, replayed: Run, truth: Run) -> bool:
        """Are the differences as small as those that a change of the input makes in its last digits, on either side?

        An ill-conditioned function is known no better, and a sum that cancels leaves nothing but the rounding of its terms. In
        coarse numbers almost any difference would be that: there it is at most half of the size that both are to have.
        """
        change = CLOSE if self.dtype == torch.float64 else float(torch.finfo(self.dtype).eps)
        moved = torch.zeros(2, dtype=torch.float64)
        for seed in NEARBY:
            nearby = replace(point, x=point.x * (1 + change * self._normal(point.x.shape, seed)))
            model = self._run_model(nearby)
            moved = torch.stack([moved, _moved(model, truth), _moved(self._run_lattice(nearby, model), replayed)]).amax(0)
        apart = _moved(replayed, truth)
        sizes = torch.stack([truth.output.double().norm().cpu(), truth.gradient.double().norm().cpu()])
        excused = ROUNDING * moved if self.dtype == torch.float64 else torch.minimum(ROUNDING * moved, sizes / 2)
        return bool((apart <= torch.maximum(self.close * sizes, excused)).all())

    def _check_not_cancelled(self, point: Point, truth: Run) -> None:
        """Refuse branches that cancel in the gradient: of a node that sums and averages alone read, rounding is left.

        Where that is all that comes down to the input, the model has rounding of its own, and neither tells the other.
        """
        values = self._values(point.x, truth)
        gradients, readers = self._gradients(values, point), _readers(self.lattice)
        small = float(torch.finfo(self.dtype).eps) ** 0.75
        if float(truth.gradient.norm()) > small * max((float(one.norm()) for one in gradients.values()), default=0.0):
            return
        for n, node in enumerate(self.lattice.nodes):
            own, above = gradients.get(id(values[n])), [gradients.get(id(values[i])) for i in readers[n]]
            if own is None or len(above) < 2 or not all(_is_fixed(self.lattice.nodes[i].op) for i in readers[n]):
                continue
            if all(one is not None and float(own.norm()) < small * float(one.norm()) for one in above):
                raise AssumptionError(
                    f"{node.name}: the branches that read it cancel, so that the squared gradient is exactly 0 (the average of "
                    "a signal less its average, for example)"
                )

    def _gradients(self, values: list[torch.Tensor], point: Point) -> dict[int, torch.Tensor]:
        """The gradient at the values of the lattice, by their ids."""
        last, inner = values[-1], [value for value in values if value.requires_grad]
        if not last.requires_grad:
            return {}
        results = torch.autograd.grad(last, inner, self._cotangent(last, point.size), allow_unused=True)
        return {id(value): gradient for value, gradient in zip(inner, results, strict=True) if gradient is not None}

    def _normal(self, shape: tuple[int, ...], seed: int) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed(seed)
        numbers = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        return numbers.to(self.dtype).to(next(iter(self.reader.tensors.values()), numbers).device)

    def _cotangent(self, output: torch.Tensor, size: float) -> torch.Tensor:
        return size * self._normal(output.shape, 0).to(output)

    def _run_model(self, point: Point, watch: bool = False) -> Run:
        random = any(map(_draws, self.reader.graph.nodes))
        return run_model(
            self.model,
            point.x,
            lambda output: self._cotangent(output, point.size),
            self.select,
            random=random,
            watch=watch,
            seed=point.seed,
        )

    def _values(self, x: torch.Tensor, truth: Run) -> list[torch.Tensor]:
        """The values of all nodes of the lattice, with the masks that the model has drawn; x requires its gradient."""
        masks = self._masks(truth)
        tensors = named_tensors(self.model)
        tensors = {name: tensor.clone() if tensor.is_inference() else tensor for name, tensor in tensors.items()}
        tensors = self.reader.with_computed(tensors, self.dtype)
        leaf = x.detach().clone().requires_grad_()
        with torch.enable_grad(), _refused():
            return replay(self.lattice, self.reader, tensors, masks, leaf)

    def _run_lattice(self, point: Point, truth: Run) -> Run:
        """Output and input gradient of the lattice."""
        values = self._values(point.x, truth)
        return Run(values[-1].detach(), input_gradient(values[-1], values[0], self._cotangent(values[-1], point.size)))

    # --- where the two part -------------------------------------------------------------------------------------------------

    def _where(self, point: Point, apart: tuple[float, float]) -> str:
        """The text of a difference: the first layer whose values part or, if none, the gradient nearest to the output."""
        truth = self._run_model(point, watch=True)
        values = self._values(point.x, truth)
        gradients = self._gradients(values, point)
        names = self.lattice.names
        value_apart = {name: self._at(name, truth.values, values[i]) for i, name in enumerate(names)}
        slope_apart = {name: self._at(name, truth.gradients, gradients.get(id(values[i]))) for i, name in enumerate(names)}
        if apart[0] > self.close:
            what, layer, layers = "value", *self._first(value_apart, range(len(names)), lambda i: self.lattice.nodes[i].inputs)
        else:
            readers = _readers(self.lattice)
            what, layer, layers = "gradient", *self._first(slope_apart, reversed(range(len(names))), lambda i: readers[i])
        between = f"; it can come from {listed(layers)}" if layers else ""
        by = {"value": value_apart, "gradient": slope_apart}[what].get(layer)
        return (
            f"the lattice that was read is not the model: at a random input the output differs by {apart[0]:.2g} of its size "
            f"and the input gradient by {apart[1]:.2g}, in {self.dtype}. First where they part: the {what} at {layer}"
            f"{f', by {by:.2g}' if by else ''}{between}. {CAUSES}"
        )

    def _at(self, name: str, recorded: dict[str, torch.Tensor], own: torch.Tensor | None) -> float | None:
        """How far a node is from the module of its name; None where there is nothing to compare."""
        if name not in recorded or own is None:
            return None
        own = as_in_model(own.detach(), self.reader.layouts.get(name))
        return _apart(own, recorded[name]) if own.shape == recorded[name].shape else None

    def _first(self, apart: dict[str, float | None], way: Any, before: Callable[[int], Any]) -> tuple[str, list[str]]:
        """The first node that differs on the way, and the nodes before it that nothing vouches for."""
        names = self.lattice.names
        start = next((i for i in way if (apart[names[i]] or 0) > self.close), None)
        end = start if start is not None else (len(names) - 1 if before(len(names) - 1) else 0)
        doubtful, waiting = set(), [end]
        while waiting:
            node = waiting.pop()
            known = apart[names[node]]
            if node in doubtful or (node != end and known is not None and known <= self.close):
                continue
            doubtful.add(node)
            waiting.extend(before(node))
        layer = names[start] if start is not None else ("the output" if end else "the input")
        return layer, [names[i] for i in sorted(doubtful) if names[i] not in ("input", layer)]


def _memory(lattice: Lattice, reader: Reader) -> tuple[float, float]:
    """Bytes that two passes take, roughly: all parameters, all values and their gradients; and bytes that are free."""
    cells = reader.batch * sum(map(prod, lattice.shapes))
    needed = 8.0 * (4 * cells + sum(tensor.numel() for tensor in reader.tensors.values()))
    device = next((tensor.device for tensor in reader.tensors.values()), torch.device("cpu"))
    if device.type == "cuda":
        return needed, float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return needed, next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no such file: not Linux
        return needed, inf


def _readers(lattice: Lattice) -> list[list[int]]:
    """Which nodes read each node."""
    readers: list[list[int]] = [[] for _ in lattice.nodes]
    for position, node in enumerate(lattice.nodes):
        for i in node.inputs:
            readers[i].append(position)
    return readers


def _is_fixed(op: Op) -> bool:
    """Is it linear, without weights?"""
    if isinstance(op, Norm):
        return op.kind == "scale"
    return (
        isinstance(op, Add | Dropout | Rearrangement | Windowed)
        and not isinstance(op, Weighted)
        and getattr(op, "kind", "") != "max"
    )


def _draws(call: Any) -> bool:
    """Does a call of the graph draw random numbers? A dropout of nothing, or of everything, does not."""
    if call.op != "call_function" or operation(call) not in RANDOM:
        return False
    if "dropout" not in operation(call):
        return True
    _, p, train, *_ = call.args
    return bool(train) and 0 < p < 1


def _moved(run: Run, other: Run) -> torch.Tensor:
    """How far outputs and gradients of two passes are apart: the norms of their differences."""
    pairs = ((run.output, other.output), (run.gradient, other.gradient))
    return torch.stack([(one.double() - two.double()).norm().cpu() for one, two in pairs])


def _apart(replayed: torch.Tensor, truth: torch.Tensor) -> float:
    """The largest difference relative to the largest entry, or that of the root mean squares, whichever is larger."""
    size = max(float(replayed.abs().max()), float(truth.abs().max())) if truth.numel() else 0.0
    if size == 0:
        return 0.0
    replayed, truth = replayed.double() / size, truth.double() / size
    difference = replayed - truth
    return max(float(difference.abs().max()), float(difference.norm()) / max(float(replayed.norm()), float(truth.norm())))

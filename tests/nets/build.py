"""The source of one network, written line by line; every line is run as it is written, so that shapes fit by construction."""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

LARGEST = 3000  # values of one sample at any place of a network: they are to be small
NAMES = {"torch": torch, "nn": nn, "F": F, "math": math, "__name__": "generated"}


class Discard(Exception):  # noqa: N818
    """What was drawn does not fit here: a kernel larger than what it reads, channels that cannot be split."""


@dataclass(frozen=True)
class Case:
    """One network. `factory()` returns it freshly initialised, by torch's global generator; `source` is its text.

    `mode` and `batch` say how it is run, `output` which of several outputs is meant, `initialisation` what is given to
    `predict` (None: the factory's own weights). `signs`: all random weights are independent +-constants, so that they can be
    enumerated. `coupled`: the samples of a batch depend on each other. `variants`: other sources of the same function.
    """

    seed: int
    factory: Callable[[], nn.Module]
    shape: tuple[int, ...]
    mode: str
    source: str
    kinds: frozenset[str]
    batch: int = 8
    output: Any = None
    initialisation: str | None = None
    dtype: torch.dtype = torch.float32
    signs: bool = False
    coupled: bool = False
    variants: dict[str, str] = field(default_factory=dict)


def factory_of(source: str, dtype: torch.dtype = torch.float32) -> Callable[[], nn.Module]:
    """A function that builds the class `Net` of this source in this precision."""
    scope = dict(NAMES)
    exec(compile(source, "<generated net>", "exec"), scope)  # the source is our own
    return scope["Net"] if dtype is torch.float32 else lambda: scope["Net"]().to(dtype)


@dataclass
class Line:
    """A line of `forward`, and the same written otherwise (operands "swapped", a functional or module "twin")."""

    text: str
    others: dict[str, str] = field(default_factory=dict)


class Builder:
    """What has been written so far: `y` names the tensor that the next layer reads."""

    def __init__(self, rng: random.Random, shape: tuple[int, ...], train: bool) -> None:
        self.rng, self.shape, self.train, self.d = rng, shape, train, len(shape) - 1
        self.helpers: dict[str, str] = {}
        self.init: list[str] = []
        self.forward: list[Line] = []
        self.last: list[str] = []  # of __init__, after the weights have been initialised
        self.kinds: set[str] = set()
        self.count = 0
        self.coupled = False
        self.output: Any = None
        self.returned: str | None = None
        self.module = nn.Module()
        self.scope: dict[str, Any] = {**NAMES, "self": self.module}
        self.scope["x"] = torch.randn(3, *shape).requires_grad_() * 1
        self.module.train(train)
        self.y = "x"

    # --- what the tensor `y` is

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(self.scope[self.y].shape[1:])

    @property
    def channels(self) -> int:
        return self.size[0]

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.size[1:]

    @property
    def axes(self) -> tuple[int, ...]:
        """The numbers of the axes of positions."""
        return tuple(range(2, 2 + len(self.spatial)))

    def nd(self, name: str) -> str:
        """A name with the number of axes: Conv -> Conv2d."""
        return f"{name}{self.d}d"

    # --- choices

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def one(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def need(self, condition: bool) -> None:
        if not condition:
            raise Discard

    def tag(self, *kinds: str) -> None:
        self.kinds.update(kinds)

    # --- writing

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def helper(self, name: str, source: str) -> str:
        """A function or class at the top of the source."""
        if name not in self.helpers:
            self._run(source)
            self.helpers[name] = source
        return name

    def define(self, code: str, stem: str = "layer") -> str:
        """self.layer3 = code, in __init__."""
        name = f"self.{self.name(stem)}"
        self._run(f"{name} = {code}")
        self.init.append(f"{name} = {code}")
        self.module.train(self.train)
        return name

    def setup(self, statement: str, after: bool = False) -> None:
        """A statement of __init__, or one that comes after all weights have been initialised."""
        with torch.no_grad():
            self._run(statement)
        (self.last if after else self.init).append(statement)

    def let(self, code: str, **others: str) -> str:
        """y3 = code, in forward; y3 is what the next layer reads."""
        name = self.name("y")
        self.line(f"{name} = {code}", **{kind: f"{name} = {other}" for kind, other in others.items()})
        self.need(isinstance(self.scope[name], torch.Tensor))
        self.y = name
        self.need(0 < self.scope[name][0].numel() <= LARGEST)
        return name

    def line(self, statement: str, **others: str) -> None:
        """A statement of forward."""
        self._run(statement)
        self.forward.append(Line(statement, others))

    def inplace(self, statement: str) -> None:
        """A statement of forward that writes into what exists; into the caller's images, where nothing stands between."""
        self.tag("inplace", *(["inplace-input"] if self.y == "x" else []))
        self.line(statement)

    def layer(self, module: str, functional: str | None = None, stem: str = "layer") -> str:
        """y3 = self.layer2(y1), or the functional twin, with {y} for what it reads; either may stand in the source."""
        twin = None if functional is None else functional.format(y=self.y)
        if twin is not None and self.chance(0.4):
            return self.let(twin)
        call = f"{self.define(module, stem)}({self.y})"
        return self.let(call) if twin is None else self.let(call, twin=twin)

    def _run(self, code: str) -> None:
        try:
            exec(code, self.scope)  # the source is our own
        except (RuntimeError, ValueError, IndexError, NotImplementedError, AssertionError) as error:
            raise Discard from error

    @contextmanager
    def trying(self) -> Iterator[None]:
        """What is written within is taken back if it does not fit."""
        before = (len(self.init), len(self.forward), len(self.last), self.y, set(self.kinds), dict(self.helpers), self.coupled)
        try:
            yield
        except Discard:
            init, forward, last, self.y, self.kinds, self.helpers, self.coupled = before
            del self.init[init:], self.forward[forward:], self.last[last:]

    # --- the result

    def source(self, variant: str | None = None) -> str:
        lines = [line.others.get(variant or "", line.text) for line in self.forward]
        init = [*self.init, *self.last] or ["pass"]
        text = [
            *self.helpers.values(),
            "class Net(nn.Module):",
            "    @torch.no_grad()",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {part}" for line in init for part in line.split("\n")),
            "    def forward(self, x):",
            *(f"        {part}" for line in lines for part in line.split("\n")),
            f"        return {self.returned or self.y}",
        ]
        return "\n".join(text) + "\n"

    def variants(self) -> dict[str, str]:
        kinds = {kind for line in self.forward for kind in line.others}
        return {kind: self.source(kind) for kind in sorted(kinds)}

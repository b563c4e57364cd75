"""The end of a network: a map, a classifier, several outputs."""

import math

from tests.nets import layers
from tests.nets.build import Builder


def none(b: Builder) -> None:
    """The map itself is the output."""


def flat(b: Builder) -> None:
    b.tag("flatten-head")
    features = b.scope[b.y][0].numel()
    b.let(
        b.one(
            f"{b.y}.flatten(1)",
            f"torch.flatten({b.y}, 1)",
            f"{b.y}.reshape(-1, {features})",
            f"{b.y}.contiguous().view({b.y}.size(0), -1)",
        )
    )
    _linear(b, features)


def _linear(b: Builder, features: int) -> None:
    outputs = b.one(1, 2, 3)
    name = b.define(f"nn.Linear({features}, {outputs}, bias={b.chance(0.3)})", "head")
    b.let(f"{name}({b.y})", twin=f"F.linear({b.y}, {name}.weight, {name}.bias)")


def pooled(b: Builder) -> None:
    b.tag("pooled-head", "average")
    c, y = b.channels, b.y
    pool = f"F.{b.nd('adaptive_avg_pool')}({y}, 1).flatten(1)"
    usual = (f"{y}.mean({b.axes})", pool, pool, f"torch.mean({y}, dim={b.axes})")
    b.let(
        b.one(*usual)
        if b.chance(0.95)
        else b.one(f"{y}.flatten(2).mean(-1)", f"{y}.contiguous().view(-1, {c}, {math.prod(b.spatial)}).mean(2)")
    )
    if b.chance(0.85):
        _linear(b, c)


def max_pooled(b: Builder) -> None:
    b.tag("max-pool", "pooled-head")
    c, y = b.channels, b.y
    b.let(b.one(f"F.{b.nd('adaptive_max_pool')}({y}, 1).flatten(1)", f"{y}.amax({b.axes})", f"{y}.flatten(2).max(-1).values"))
    _linear(b, c)


def pointwise(b: Builder) -> None:
    name = b.define(f"nn.{b.nd('Conv')}({b.channels}, 2, 1, bias=False)", "head")
    b.let(f"{name}({b.y})")


def adaptive(b: Builder) -> None:
    layers.adaptive(b)
    pointwise(b)


def centre(b: Builder) -> None:
    """One position of the map."""
    b.tag("one-position", "asymmetric")
    where = ", ".join(str(b.rng.randrange(-n, n)) for n in b.spatial)
    b.let(f"{b.y}[:, :, {where}]")


def token(b: Builder) -> None:
    """Positions as a sequence, as transformers write it; then the mean."""
    b.tag("tokens", "average")
    c = b.channels
    b.let(f"{b.y}.flatten(2).transpose(1, 2)")
    name = b.define(f"nn.Linear({c}, 2)", "head")
    b.let(f"{name}({b.y})")
    if b.chance(0.5):
        b.let(f"{b.y}.mean(1)")


def several(b: Builder) -> None:
    """A tuple or a dictionary of outputs, one of which is meant."""
    b.tag("several-outputs")
    start = b.y
    (flat if b.chance(0.5) else pooled)(b)
    first = b.y
    b.y = start
    name = b.define(f"nn.{b.nd('Conv')}({b.channels}, 2, 1)", "aux")
    second = b.let(f"{name}({b.y})")
    style = b.rng.randrange(3)
    if style == 0:
        b.returned, b.output = f"{first}, {second}", b.one(0, 1)
    elif style == 1:
        b.returned, b.output = f'{{"out": {first}, "aux": {second}}}', b.one("out", "aux")
    else:
        b.returned, b.output = f"[{first}, {first} * 2]", 1

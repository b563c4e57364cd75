"""`net(seed)`: one random network as people write them, reproducible from its seed.

A network is a stem, one to four features, each perhaps followed by an activation and a convolution, and a head. Most are
ordinary (convolutions, ReLUs, pools, linear heads); each has one or two of the rarer features at most, so that what a miss is
about can be read from its `kinds`.
"""

import random
import warnings
from collections.abc import Callable
from functools import partial

import torch

from tests.nets import gates, heads, layers, merging, modules, structured, surgery
from tests.nets.build import Builder, Case, Discard, factory_of

Block = Callable[[Builder], object]

PLAIN: tuple[Block, ...] = (
    layers.conv, layers.conv, layers.conv, layers.relu, layers.relu, layers.pool, layers.pad, layers.resize, layers.transposed,
    layers.batch_norm, layers.scale, layers.kinked, layers.smooth, merging.residual, modules.sequential, modules.sequential,
    modules.module_list, modules.block,
)  # fmt: skip
RARE: dict[str, tuple[Block, ...]] = {
    "activation": (layers.smooth, layers.kinked, layers.absolute, layers.prelu, layers.clamp, layers.chained_gates),
    "norm": (layers.batch_norm, layers.signal_norm, layers.signal_norm),
    "dropout": (layers.dropout,),
    "pool": (layers.pool, layers.adaptive, layers.resize, layers.pad),
    "merge": (merging.residual, merging.trunk, merging.trunk, merging.concatenated, merging.split),
    "meet": (merging.same_paths_meet, merging.same_paths_meet, merging.copies_of_channels),
    "product": (
        gates.sigmoid_gate, gates.two_branches, gates.attention_product, gates.glu, gates.squeeze, gates.squeeze,
        gates.written_out, gates.softmaxed,
    ),
    "surgery": (surgery.views, surgery.views, surgery.whole, surgery.cut, surgery.backward, surgery.frozen_module),
    "weights": (
        structured.fixed_filter, structured.structured_conv, structured.structured_conv, structured.tied,
        structured.scaled_layer, structured.shifted_biases,
    ),
}  # fmt: skip
RARE["around"] = tuple(
    partial(merging.averages_around, inner=block)
    for block in (
        gates.squeeze, gates.sigmoid_gate, gates.written_out, layers.dropout, layers.signal_norm, layers.batch_norm,
        layers.relu, layers.smooth, merging.residual, layers.conv, merging.same_paths_meet,
    )
)  # fmt: skip
HEADS: tuple[Block, ...] = (
    *[heads.none] * 4, *[heads.flat] * 6, *[heads.pooled] * 4, *[heads.pointwise] * 3, heads.max_pooled, heads.adaptive,
    heads.centre, heads.token, heads.several,
)  # fmt: skip
SCHEMES = ("signs", "signs", "signs", "default", "default", "normal", "uniform", "xavier", "orthogonal", "truncated")
GIVEN = {"default": "torch_default", "normal": "he"}  # schemes that `predict` knows by name
ATTEMPTS = 200


def net(seed: int) -> Case:
    """The network of this seed.

    >>> net(3).source == net(3).source
    True
    """
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{seed}-{attempt}")
        with torch.random.fork_rng(devices=()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            try:
                return _written(seed, rng)
            except Discard:
                continue
    raise RuntimeError(f"seed {seed}: nothing fits in {ATTEMPTS} attempts")


def _written(seed: int, rng: random.Random) -> Case:
    axes = rng.choice((1, 2, 2, 2, 2, 3))
    sizes = {1: (3, 8), 2: (3, 8), 3: (3, 4)}[axes]
    side = rng.randint(*sizes)
    spatial = tuple(side if rng.random() < 0.75 else rng.randint(*sizes) for _ in range(axes))
    b = Builder(rng, (rng.choice((1, 1, 2, 3)), *spatial), train=rng.random() < 0.2)
    scheme = rng.choice(SCHEMES)
    if b.chance(0.9):
        layers.conv(b, out=rng.choice((1, 2, 4, 4, 8, 8, 16)))
    if b.chance(0.3):
        layers.relu(b)
    rare = [rng.choice(RARE[kind]) for kind in rng.sample(sorted(RARE), rng.choice((0, 1, 1, 2, 2)))]
    blocks: list[Block] = [*rare, *(rng.choice(PLAIN) for _ in range(rng.randint(0 if rare else 1, 2)))]
    rng.shuffle(blocks)
    for block in blocks:
        _add(b, block)
    head = rng.choice(HEADS)
    b.need(len(b.spatial) == b.d)
    head(b)
    structured.initialise(b, scheme)
    return _case(seed, b, scheme)


def _add(b: Builder, block: Block) -> None:
    """This feature, where it fits, and perhaps an activation and fresh weights above it."""
    with b.trying():
        block(b)
        b.need(len(b.spatial) == b.d)
    if b.chance(0.35):
        with b.trying():
            merging.activation(b)
    if b.chance(0.5):
        with b.trying():
            layers.conv(b)


def _case(seed: int, b: Builder, scheme: str) -> Case:
    """The finished source, run twice: what raises, gives NaN or has no weights is discarded."""
    source = b.source()
    dtype = b.rng.choice((torch.float32,) * 8 + (torch.float64, torch.bfloat16))
    if dtype is not torch.float32:
        b.tag(str(dtype).removeprefix("torch."))
    b.tag(b.d * "x" or "x", "train" if b.train else "eval")
    special = {"tied", "structured", "scaled", "bias-constant", "requires-grad-false"}
    plain = not (special | {f"frozen-{kind}" for kind in ("laplacian", "sobel", "binomial", "haar", "difference")}) & b.kinds
    case = Case(
        seed=seed,
        factory=factory_of(source, dtype),
        shape=b.shape,
        mode="train" if b.train else "eval",
        source=source,
        kinds=frozenset(b.kinds),
        batch=b.rng.choice((4, 8, 16)) if b.train else 8,
        output=b.output,
        initialisation=GIVEN.get(scheme) if plain and b.chance(0.5) else None,
        dtype=dtype,
        signs=plain and scheme == "signs",
        coupled=b.coupled,
        variants=b.variants(),
    )
    _runs(b, case)
    return case


def _runs(b: Builder, case: Case) -> None:
    for _ in range(2):
        try:
            model = case.factory().train(b.train)
            b.need(any(True for _ in model.parameters()))
            x = torch.randn(2, *case.shape, dtype=case.dtype).requires_grad_()
            y = model(x.clone())
            y = y if case.output is None else y[case.output]
            b.need(isinstance(y, torch.Tensor) and y.is_floating_point() and len(y) == 2 and bool(torch.isfinite(y).all()))
            if y.requires_grad:
                (g,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
                b.need(g is None or bool(torch.isfinite(g).all()))
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            raise Discard from error

"""Layers: convolutions, norms, pools, resizes, pads, activations, dropouts; as modules, functions, methods, in place or not."""

import math

from tests.nets.build import Builder

PADDINGS = ("zeros",) * 12 + ("circular", "reflect", "replicate")
SMOOTH = {
    "GELU": "F.gelu({y})", "SiLU": "F.silu({y})", "Tanh": "torch.tanh({y})", "Sigmoid": "torch.sigmoid({y})",
    "Softplus": "F.softplus({y})", "Hardswish": "F.hardswish({y})", "Mish": "F.mish({y})", "ELU": "F.elu({y})",
    "SELU": "F.selu({y})", "Hardsigmoid": "F.hardsigmoid({y})",
}  # fmt: skip
KINKED = {
    "ReLU6()": "F.relu6({y})", "Hardtanh()": "F.hardtanh({y})", "LeakyReLU(0.2)": "F.leaky_relu({y}, 0.2)",
    "LeakyReLU(-0.5)": "F.leaky_relu({y}, -0.5)",
}  # fmt: skip
UNUSUAL = {
    "Threshold(0.1, 0.0)": "F.threshold({y}, 0.1, 0.0)", "Softshrink(0.3)": "F.softshrink({y}, 0.3)",
    "Hardshrink(0.3)": "F.hardshrink({y}, 0.3)", "LogSigmoid()": "F.logsigmoid({y})", "Tanhshrink()": "F.tanhshrink({y})",
    "CELU()": "F.celu({y})", "Softsign()": "F.softsign({y})", "Hardtanh(-0.5, 2)": "F.hardtanh({y}, -0.5, 2)",
}  # fmt: skip


def per_axis(b: Builder, values: list[int]) -> str:
    """One number for all axes, or now and then one per axis."""
    if len(values) > 1 and len(set(values)) > 1:
        b.tag("anisotropic")
        return str(tuple(values))
    return str(values[0])


def conv(b: Builder, out: int | None = None, same: bool = False) -> str:
    """A convolution; `same`: stride 1 and as many positions as before."""
    b.need(len(b.spatial) == b.d)
    groups = b.one(2, b.channels) if b.channels % 2 == 0 and b.chance(0.08) else 1
    out = out or groups * b.one(1, 2, 2, 3, 4, 4, 8)
    b.need(out % groups == 0)
    uneven = b.chance(0.1)
    kernels = [b.one(1, 3, 3, 3, 5) if same else b.one(1, 2, 3, 3, 3, 4) for _ in b.spatial]
    kernels = [min(k, n if n % 2 else n - 1) if same else min(k, n) for k, n in zip(kernels, b.spatial, strict=True)]
    kernels = kernels if uneven else [min(kernels)] * b.d
    b.need(min(kernels) > 0)
    stride = 1 if same or b.chance(0.75) else 2
    dilation = 2 if b.chance(0.1) and all(2 * (k - 1) < n for k, n in zip(kernels, b.spatial, strict=True)) else 1
    padding = [dilation * (k - 1) // 2 if same or b.chance(0.6) else 0 for k in kernels]
    mode = b.rng.choice(PADDINGS)
    if stride != 1 or any(k % 2 == 0 for k in kernels):
        b.tag("asymmetric")
    bias = b.chance(0.4)
    if bias:
        b.tag("bias")
    if len(set(b.spatial)) > 1:
        b.tag("anisotropic")
    text = f"nn.{b.nd('Conv')}({b.channels}, {out}, {per_axis(b, kernels)}, stride={stride}"
    if stride == 1 and not same and mode == "zeros" and b.chance(0.1):
        pads = "'same'"
        b.tag("asymmetric")
    else:
        pads = per_axis(b, padding)
    text += f", padding={pads}, dilation={dilation}, groups={groups}, bias={bias}"
    text += f", padding_mode={mode!r})" if mode != "zeros" and any(padding) else ")"
    name = b.define(text, "conv")
    function = f"F.{b.nd('conv').lower()}({b.y}, {name}.weight, {name}.bias, {stride}, {pads}, {dilation}, {groups})"
    if "padding_mode" in text:
        b.tag("copying-pad")
        return b.let(f"{name}({b.y})")
    return b.let(function, twin=f"{name}({b.y})") if b.chance(0.2) else b.let(f"{name}({b.y})", twin=function)


def transposed(b: Builder) -> None:
    b.tag("transposed", "asymmetric")
    stride, kernel = b.one(1, 2, 2), b.one(1, 2, 3, 4)
    padding = b.one(0, 0, min(1, kernel - 1))
    extra = b.one(0, 0, stride - 1)
    text = f"{b.channels}, {b.one(1, 2, 4)}, {kernel}, stride={stride}, padding={padding}, output_padding={extra}"
    name = b.define(f"nn.{b.nd('ConvTranspose')}({text}, bias={b.chance(0.4)})", "up")
    b.let(f"{name}({b.y})")


def relu(b: Builder) -> None:
    b.tag("relu")
    y, style = b.y, b.rng.choice((0, 0, 0, 0, 0, 3, 3, 4, 4, 5, 5, 6, 7, 8))
    if style == 0:
        b.layer("nn.ReLU()", "F.relu({y})", "relu")
    elif style == 3:
        b.layer("nn.ReLU(inplace=True)", "F.relu({y}, inplace=True)", "relu")
    elif style == 4:
        b.inplace(f"{y}.relu_()")
    elif style == 5:
        b.let(f"{y}.relu()", twin=f"torch.relu({y})")
    elif style == 6:
        b.let(f"{y}.clamp(min=0)", twin=f"torch.clamp({y}, min=0.0)")
    elif style == 7:
        b.let(f"F.leaky_relu({y}, 0.1)")
    elif b.chance(0.3):
        b.let(f"torch.maximum({y}, torch.zeros_like({y}))")


def kinked(b: Builder) -> None:
    table = UNUSUAL if b.chance(0.1) else KINKED
    module = b.rng.choice(list(table))
    b.tag("kinked", module.split("(")[0].lower())
    b.layer(f"nn.{module}", table[module], "act")


def smooth(b: Builder) -> None:
    module = b.rng.choice(list(SMOOTH))
    b.tag("smooth", module.lower())
    b.layer(f"nn.{module}()", SMOOTH[module], "act")


def absolute(b: Builder) -> None:
    b.tag("abs")
    b.let(f"{b.y}.abs()", twin=f"torch.abs({b.y})")


def prelu(b: Builder) -> None:
    b.tag("prelu")
    b.layer(b.one("nn.PReLU()", f"nn.PReLU({b.channels})", f"nn.PReLU({b.channels}, init=-0.3)"), stem="act")


def clamp(b: Builder) -> None:
    b.tag("clamp")
    b.let(b.one(f"{b.y}.clamp(-1, 1)", f"torch.clamp({b.y}, max=0.5)", f"{b.y}.clamp(-0.2, 3)", f"{b.y}.clamp_min(0.1)"))


def chained_gates(b: Builder) -> None:
    """A gate right above a gate, without weights between."""
    b.tag("gate-on-gate")
    first = b.one("F.leaky_relu({y}, 0.2)", "F.silu({y})", "F.relu({y})", "F.relu6({y})", "torch.abs({y})")
    b.let(first.format(y=b.y))
    b.let(b.one("F.relu({y})", "F.leaky_relu({y}, 0.5)", "torch.tanh({y})").format(y=b.y))


def pool(b: Builder) -> None:
    n = min(b.spatial)
    kernel = b.one(2, 2, 3)
    b.need(kernel <= n)
    stride, padding = b.one(1, 2, kernel), b.one(0, 0, kernel // 2)
    ceil = b.chance(0.2)
    extra = f", ceil_mode={ceil}" if ceil else ""
    b.tag("pool")
    if stride != 1 or kernel % 2 == 0:
        b.tag("asymmetric")
    if b.chance(0.6):
        b.tag("average")
        counted = b.one("", "", ", count_include_pad=False")
        text = f"{kernel}, {stride}, {padding}{extra}{counted}"
        b.layer(f"nn.{b.nd('AvgPool')}({text})", f"F.{b.nd('avg_pool')}({{y}}, {text})", "pool")
    else:
        b.tag("max-pool")
        text = f"{kernel}, {stride}, {padding}{extra}"
        b.layer(f"nn.{b.nd('MaxPool')}({text})", f"F.{b.nd('max_pool')}({{y}}, {text})", "pool")


def adaptive(b: Builder) -> None:
    kind = b.one("Avg", "Avg", "Max")
    b.tag("pool", "asymmetric", "average" if kind == "Avg" else "max-pool")
    text = b.one("2", "3", "1")
    b.layer(f"nn.{b.nd(f'Adaptive{kind}Pool')}({text})", f"F.{b.nd(f'adaptive_{kind.lower()}_pool')}({{y}}, {text})", "pool")


def resize(b: Builder) -> None:
    b.tag("resize", "asymmetric")
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[b.d]
    mode = b.one(*["nearest"] * 4, *[linear] * 4, "nearest-exact")
    b.tag(mode)
    aligned = f", align_corners={b.chance(0.5)}" if mode == linear else ""
    if b.chance(0.6):
        size = tuple(max(1, n + b.one(-2, -1, 1, 2, 3, n)) for n in b.spatial)
        b.let(f"F.interpolate({b.y}, size={size}, mode={mode!r}{aligned})")
    else:
        text = f"scale_factor={b.one(2, 2, 1.5, 0.5)}, mode={mode!r}{aligned}"
        b.layer(f"nn.Upsample({text})", f"F.interpolate({{y}}, {text})", "resize")


def pad(b: Builder) -> None:
    b.tag("pad", "asymmetric")
    mode = b.one("constant", "constant", "reflect", "replicate", "circular")
    low = -1 if mode == "constant" and b.chance(0.15) else 0
    amounts = tuple(b.rng.randint(low, 2) for _ in range(2 * b.d))
    if mode == "constant":
        value = b.one(0, 0, 0, 0.7)
        b.let(f"F.pad({b.y}, {amounts}, value={value})")
    else:
        b.tag("copying-pad")
        b.let(f"F.pad({b.y}, {amounts}, mode={mode!r})")


def batch_norm(b: Builder) -> None:
    b.tag("norm", "batch-norm")
    b.coupled |= b.train
    name = b.define(f"nn.{b.nd('BatchNorm')}({b.channels})", "norm")
    _affine(b, name)
    if b.chance(0.4):
        b.tag("running-statistics")
        b.setup(f"{name}.running_var.copy_(torch.linspace(0.3, 3, {b.channels}))")
        if b.chance(0.5):
            b.setup(f"{name}.running_mean.copy_(torch.linspace(-1, 0.5, {b.channels}))")
    b.let(f"{name}({b.y})")


def _affine(b: Builder, name: str) -> None:
    """Gammas as some recipes set them: of either sign, small, zero; or a shift."""
    style = b.rng.randrange(10)
    if style == 0:
        b.tag("negative-gamma")
        b.setup(f"{name}.weight.data[::2] = -1.0", after=True)
    elif style == 1:
        b.tag("random-gamma")
        b.setup(f"nn.init.normal_({name}.weight, 1.0, {b.one(0.02, 0.5)})", after=True)
    elif style == 2:
        b.tag("shift")
        b.setup(f"nn.init.constant_({name}.bias, {b.one(-0.5, 0.3, 1.0)})", after=True)
    elif style == 3:
        b.setup(f"nn.init.constant_({name}.weight, {b.one(0.1, 1e-5, 3.0)})", after=True)


def signal_norm(b: Builder) -> None:
    """A norm by the statistics of the signal itself."""
    b.tag("norm", "signal-norm")
    style = b.rng.randrange(5)
    c, size = b.channels, list(b.size)
    if style == 0:
        b.tag("group-norm")
        groups = b.one(1, math.gcd(c, 2), c)
        b.layer(f"nn.GroupNorm({groups}, {c})", f"F.group_norm({{y}}, {groups})", "norm")
    elif style == 1:
        b.tag("instance-norm")
        b.layer(f"nn.{b.nd('InstanceNorm')}({c}, affine={b.chance(0.5)})", "F.instance_norm({y})", "norm")
    elif style == 2:
        b.tag("layer-norm")
        b.layer(f"nn.LayerNorm({size})", f"F.layer_norm({{y}}, {size})", "norm")
    elif style == 3:
        b.tag("layer-norm", "channels-last")
        order = (0, *b.axes, 1)
        back = (0, 1 + b.d, *range(1, 1 + b.d))
        name = b.define(f"nn.LayerNorm({c})", "norm")
        b.let(f"{name}({b.y}.permute{order}).permute{back}")
    else:
        b.tag("rms-norm")
        b.let(f"{b.y} * torch.rsqrt({b.y}.pow(2).mean(1, keepdim=True) + 1e-6)")


def dropout(b: Builder) -> None:
    p = b.one(0.2, 0.5)
    b.tag("dropout", *(["train-dropout"] if b.train else []))
    style = b.rng.randrange(7)
    if style == 0:
        b.layer(f"nn.{b.nd('Dropout')}({p})", f"F.{b.nd('dropout')}({{y}}, {p}, training=self.training)", "drop")
    elif style == 1:
        b.layer(f"nn.Dropout({p}, inplace=True)", stem="drop")
    elif style == 2:
        b.tag("dropout-always")
        b.let(f"F.dropout({b.y}, {p})")
    elif style == 3:
        b.tag("if-training")
        b.line(f"if self.training:\n    {b.y} = {b.y} * {b.one(0.5, 2.0)}")
    elif style == 4:
        b.tag("stochastic-depth")
        drop = "def drop_path(y, p, training):\n    if not training:\n        return y\n    keep = torch.empty([len(y)] + [1] * (y.dim() - 1), dtype=y.dtype).bernoulli_(1 - p)\n    return y * keep / (1 - p)"  # noqa: E501
        b.helper("drop_path", drop)
        b.let(f"drop_path({b.y}, {p}, self.training)")
    elif style == 5:
        b.tag("stochastic-depth")
        b.helper("StochasticDepth", "from torchvision.ops import StochasticDepth")
        b.layer(f"StochasticDepth({p}, {b.one('row', 'batch')!r})", stem="drop")
    else:
        b.layer(f"nn.Dropout({p})", f"F.dropout({{y}}, {p}, self.training)", "drop")


def scale(b: Builder) -> None:
    """A factor, in the ways people write it."""
    b.tag("factor")
    y = b.y
    style = b.rng.randrange(8)
    if style == 0:
        b.let(f"{y} * 0.5", swapped=f"0.5 * {y}")
    elif style == 1:
        b.let(f"{y} / {b.one(2, 3.0)}")
    elif style == 2:
        b.let(f"-{y}", twin=f"{y}.neg()")
    elif style == 3:
        b.inplace(f"{y} *= -2")
    elif style == 4:
        b.inplace(f"{y}.mul_(0.3)")
    elif style == 5:
        gamma = b.define(f"nn.Parameter({b.one(0.1, 1.0, -1.0)} * torch.ones(1, {b.channels}{', 1' * b.d}))", "gamma")
        b.let(f"{y} * {gamma}", swapped=f"{gamma} * {y}")
    elif style == 6:
        b.tag("shift")
        b.let(f"{y} + {b.one(0.5, -1)}")
    else:
        b.let(f"({y} - {b.one(0.2, 0.0)}) / {b.one(0.25, 2)}")

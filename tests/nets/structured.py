"""Weights that are not independent draws: frozen filters, masks, identities, ties, scales; and whole initialisations."""

from tests.nets.build import Builder

FILTERS = {
    1: {"laplacian": "[-1.0, 2, -1]", "difference": "[1.0, 0, -1]", "binomial": "[0.25, 0.5, 0.25]", "haar": "[0.5, -0.5]"},
    2: {
        "laplacian": "[[0, 1.0, 0], [1, -4, 1], [0, 1, 0]]", "sobel": "[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]",
        "binomial": "[[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]", "haar": "[[0.5, -0.5], [0.5, -0.5]]",
    },
}  # fmt: skip
INITIALISE = {
    "signs": "p.copy_((torch.randint(0, 2, p.shape) * 2 - 1) * (2 / p[0].numel()) ** 0.5)",
    "normal": "nn.init.kaiming_normal_(p)",
    "uniform": "nn.init.kaiming_uniform_(p, nonlinearity='relu')",
    "xavier": "nn.init.xavier_uniform_(p)",
    "orthogonal": "nn.init.orthogonal_(p)",
    "truncated": "nn.init.trunc_normal_(p, std=0.2)",
}


def fixed_filter(b: Builder) -> None:
    """A classical filter on every channel, as a parameter that is not trained or as a buffer."""
    b.need(b.d in FILTERS and len(b.spatial) == b.d)
    kind = b.rng.choice(list(FILTERS[b.d]))
    b.tag("frozen", f"frozen-{kind}")
    if kind in ("haar", "sobel", "difference"):
        b.tag("asymmetric")
    c = b.channels
    kernel = f"torch.tensor({FILTERS[b.d][kind]}).expand({c}, 1, {', '.join(['-1'] * b.d)}).clone()"
    stride = b.one(1, 1, 2)
    if stride == 2:
        b.tag("asymmetric")
    style = b.rng.randrange(3)
    function = f"F.{b.nd('conv').lower()}({b.y}, {{}}, stride={stride}, padding=1, groups={c})"
    if style == 0:
        b.let(function.format(b.define(f"nn.Parameter({kernel}, requires_grad=False)", "filter")))
    elif style == 1:
        name = b.name("filter")
        b.setup(f"self.register_buffer({name!r}, {kernel})")
        b.let(function.format(f"self.{name}"))
    else:
        size = 2 if kind == "haar" else 3
        name = b.define(f"nn.{b.nd('Conv')}({c}, {c}, {size}, {stride}, 1, groups={c}, bias=False)", "filter")
        b.setup(f"{name}.weight.copy_({kernel})", after=True)
        b.let(f"{name}({b.y})")


def structured_conv(b: Builder) -> None:
    """A convolution whose weights are made with a structure."""
    b.tag("structured")
    kind = b.one("mask", "mask", "identity", "delta", "constant", "zero", "mean", "copies", "icnr")
    b.tag(f"weights-{kind}")
    out = 4 if kind == "icnr" else b.one(b.channels, b.channels, 2)
    n = 3 if min(b.spatial) >= 2 else 1
    name = b.define(f"nn.{b.nd('Conv')}({b.channels}, {out}, {n}, padding={n // 2}, bias=False)", "conv")
    w = f"{name}.weight"
    if kind == "mask":
        b.tag("asymmetric")
        b.setup(f"{w}.data[..., {n // 2 + 1}:] = 0", after=True)
        b.setup(b.one(f"{w}.data[:, :, 0] = 0", f"{w}.mul_({w} > 0)" if b.chance(0.2) else "pass"), after=True)
    elif kind == "identity":
        b.setup(f"nn.init.dirac_({w})", after=True)
    elif kind == "delta":
        b.setup(f"{w}.zero_()", after=True)
        b.setup(f"nn.init.orthogonal_({w}[(..., {', '.join([str(n // 2)] * b.d)})])", after=True)
    elif kind == "constant":
        b.setup(f"nn.init.constant_({w}, {b.one(0.1, 1.0, -0.5)})", after=True)
    elif kind == "zero":
        b.setup(f"nn.init.zeros_({w})", after=True)
    elif kind == "mean":
        b.setup(f"nn.init.normal_({w}, {b.one(0.02, 0.3, 1.0)}, 0.3)", after=True)
    elif kind == "copies":
        b.setup(f"{w}.copy_({w}[:1].clone().expand_as({w}))", after=True)
    else:
        b.setup(f"{w}.copy_({w}[::4].clone().repeat_interleave(4, 0))", after=True)
    b.let(f"{name}({b.y})")
    if kind == "icnr" and b.d == 2:
        b.tag("asymmetric")
        b.let(f"F.pixel_shuffle({b.y}, 2)")
        if b.chance(0.5):
            b.let(f"F.avg_pool2d({b.y}, 2)")


def tied(b: Builder) -> None:
    """One weight that is used twice."""
    b.tag("tied")
    c = b.channels
    name = b.define(f"nn.{b.nd('Conv')}({c}, {c}, 3, padding=1, bias=False)", "tied")
    style = b.rng.randrange(3)
    if style == 0:
        b.let(f"{name}(F.relu({name}({b.y})))")
    elif style == 1:
        b.let(f"{name}({b.y})")
        b.let(f"F.{b.nd('conv_transpose').lower()}({b.y}, {name}.weight, padding=1)")
    else:
        other = b.define(f"nn.{b.nd('Conv')}({c}, {c}, 3, padding=1, bias=False)", "conv")
        b.setup(f"{other}.weight = {name}.weight")
        b.let(f"{name}({b.y})")
        b.let(f"{other}({b.y})")


def scaled_layer(b: Builder) -> None:
    """A convolution whose weights are very large or very small."""
    b.tag("scaled")
    name = b.define(f"nn.{b.nd('Conv')}({b.channels}, {b.one(2, 3, 4)}, 3, padding=1, bias=False)", "conv")
    b.setup(f"{name}.weight.mul_({b.one(1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9)})", after=True)
    b.let(f"{name}({b.y})")


def shifted_biases(b: Builder) -> None:
    """All biases at a constant."""
    b.tag("bias-constant", "bias")
    value = b.one(0.3, -0.2, 1.0)
    b.setup(
        f"for m in self.modules():\n    if getattr(m, 'bias', None) is not None:\n        m.bias.fill_({value})", after=True
    )


def initialise(b: Builder, scheme: str) -> None:
    """The weights of all layers by one scheme; `default` leaves what torch gives."""
    if scheme == "default":
        return
    b.tag(f"init-{scheme}")
    kinds = "nn.modules.conv._ConvNd, nn.Linear"
    b.setup(f"for m in self.modules():\n    if isinstance(m, ({kinds})):\n        p = m.weight\n        {INITIALISE[scheme]}")
    b.last.insert(0, b.init.pop())

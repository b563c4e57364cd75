"""Several layers as one module: Sequential, ModuleList, a class of their own."""

from tests.nets.build import Builder

BLOCK = """class Block(nn.Module):
    def __init__(self, channels, hidden, conv, norm, act):
        super().__init__()
        self.one, self.two = conv(channels, hidden, 3, padding=1, bias=False), conv(hidden, channels, 3, padding=1, bias=False)
        self.norm1, self.norm2, self.act = norm(hidden), norm(channels), act
    def forward(self, x):
        y = self.act(self.norm1(self.one(x)))
        y = self.norm2(self.two(y))
        y += x
        return self.act(y)"""

PREACTIVATION = """class PreBlock(nn.Module):
    def __init__(self, channels, conv, norm, act):
        super().__init__()
        self.body = nn.Sequential(norm(channels), act, conv(channels, channels, 3, padding=1, bias=False))
    def forward(self, x):
        return x + self.body(x)"""


def _activation(b: Builder) -> str:
    return b.one("nn.ReLU()", "nn.ReLU(inplace=True)", "nn.ReLU(True)", "nn.LeakyReLU(0.1)", "nn.GELU()", "nn.SiLU()")


def sequential(b: Builder) -> None:
    """Convolution, perhaps a norm, an activation, perhaps a dropout or a pool, in one Sequential."""
    b.tag("sequential", "relu")
    c, out = b.channels, b.one(2, 3, 4, 8)
    parts = [f"nn.{b.nd('Conv')}({c}, {out}, 3, padding=1{b.one('', ', bias=False')})"]
    if b.chance(0.3):
        b.tag("norm", "batch-norm")
        b.coupled |= b.train
        parts.append(f"nn.{b.nd('BatchNorm')}({out})")
    if b.chance(0.85):
        parts.append(_activation(b))
    if b.chance(0.15):
        b.tag("dropout", *(["train-dropout"] if b.train else []))
        parts.append(b.one("nn.Dropout(0.3)", f"nn.{b.nd('Dropout')}(0.5)", "nn.Dropout(0.5, inplace=True)"))
    if b.chance(0.2):
        b.tag("asymmetric", "pool")
        kind = b.one("Max", "Avg")
        b.tag("max-pool" if kind == "Max" else "average")
        parts.append(f"nn.{b.nd(f'{kind}Pool')}(2)")
    b.tag("bias")
    b.let(f"{b.define(f'nn.Sequential({chr(44).join(parts)})', 'block')}({b.y})")


def module_list(b: Builder) -> None:
    """Layers in a ModuleList, called in a loop, dense or one after the other."""
    b.tag("module-list")
    conv, c, n = f"nn.{b.nd('Conv')}", b.channels, b.one(2, 3)
    y = b.name("y")
    if b.chance(0.5):
        layers = b.define(f"nn.ModuleList([{conv}({c}, {c}, 3, padding=1, bias=False) for _ in range({n})])", "layers")
        b.tag("relu")
        b.line(f"{y} = {b.y}\nfor layer in {layers}:\n    {y} = F.relu(layer({y}))")
    else:
        b.tag("concat")
        layers = b.define(f"nn.ModuleList([{conv}({c} + 2 * i, 2, 3, padding=1) for i in range({n})])", "layers")
        more = b.one(f"layer({y})", f"layer(F.relu({y}))")
        b.line(f"{y} = {b.y}\nfor layer in {layers}:\n    {y} = torch.cat([{y}, {more}], 1)")
    b.y = y


def block(b: Builder) -> None:
    """A residual block as a class of its own, once or twice."""
    b.tag("skip", "block-class", "relu")
    c, norm = b.channels, b.one("nn.Identity", "nn.Identity", f"nn.{b.nd('BatchNorm')}")
    if norm != "nn.Identity":
        b.tag("norm", "batch-norm")
        b.coupled |= b.train
    conv, act = f"nn.{b.nd('Conv')}", b.one("nn.ReLU()", "nn.ReLU()", "nn.GELU()")
    if b.chance(0.5):
        b.helper("Block", BLOCK)
        code = f"Block({c}, {b.one(2, 4)}, {conv}, {norm}, {act})"
    else:
        b.helper("PreBlock", PREACTIVATION)
        code = f"PreBlock({c}, {conv}, {norm}, {act})"
    for _ in range(b.one(1, 2)):
        b.let(f"{b.define(code, 'block')}({b.y})")

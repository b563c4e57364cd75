"""Products of two signals, in either order: gates, squeeze-excitation, attention, activations written out."""

from tests.nets import layers
from tests.nets.build import Builder

GATES = ("torch.sigmoid({a})", "torch.sigmoid({a})", "{a}.sigmoid()", "F.hardsigmoid({a})", "torch.tanh({a})")


def times(b: Builder, one: str, other: str, inplace: bool = True) -> None:
    """The product of two tensors, as it may be written; `swapped` changes the order of the two."""
    style = b.rng.randrange(6)
    if style == 0 and inplace:
        b.y = one
        b.inplace(f"{one} *= {other}")
    elif style == 1:
        b.let(f"torch.mul({one}, {other})", swapped=f"torch.mul({other}, {one})")
    elif style < 4:
        b.let(f"{one} * {other}", swapped=f"{other} * {one}")
    else:
        b.let(f"{other} * {one}", swapped=f"{one} * {other}")


def convolution(b: Builder, start: str, out: int) -> str:
    b.y = start
    return layers.conv(b, out=out, same=True)


def sigmoid_gate(b: Builder) -> None:
    """A gate per value, per position or over all, made by a convolution."""
    b.tag("product", "gate")
    start, out = b.y, b.one(b.channels, b.channels, 1)
    gate = convolution(b, start, out)
    b.let(b.rng.choice(GATES).format(a=gate))
    b.need(b.scope[b.y].shape[2:] == b.scope[start].shape[2:])
    if out == 1:
        b.tag("spatial-gate")
    times(b, start, b.y)


def two_branches(b: Builder) -> None:
    """a(y) * b(y), with or without a gate on one of them."""
    b.tag("product")
    start, out = b.y, b.channels
    one, other = convolution(b, start, out), convolution(b, start, out)
    b.need(b.scope[one].shape == b.scope[other].shape)
    if b.chance(0.4):
        b.tag("gate")
        other = b.let(b.rng.choice((*GATES, "F.gelu({a})", "F.relu({a})", "F.silu({a})")).format(a=other))
    else:
        b.tag("plain-product")
    times(b, one, other)


def attention_product(b: Builder) -> None:
    """x * attention(x), the attention a chain of convolutions without a gate: large-kernel attention."""
    b.tag("product", "plain-product", "attention")
    start, channels = b.y, b.channels
    for _ in range(b.one(1, 2)):
        layers.conv(b, out=channels, same=True)
    b.need(b.scope[b.y].shape == b.scope[start].shape)
    times(b, start, b.y)


def glu(b: Builder) -> None:
    """The channels' halves multiplied."""
    b.tag("product", "glu")
    channels = b.channels
    layers.conv(b, out=2 * channels, same=True)
    style = b.rng.randrange(3)
    if style == 0:
        b.layer("nn.GLU(1)", "F.glu({y}, 1)", "glu")
        return
    left, right = b.name("a"), b.name("b")
    b.line(f"{left}, {right} = {b.y}.chunk(2, dim=1)", twin=f"{left}, {right} = torch.chunk({b.y}, 2, 1)")
    gate = right if style == 1 else b.let(b.rng.choice(GATES).format(a=right))
    b.tag("plain-product" if style == 1 else "gate")
    times(b, left, gate, inplace=False)


def squeeze(b: Builder) -> None:
    """Squeeze-excitation: a gate per channel from the mean over all positions."""
    b.tag("product", "gate", "squeeze")
    start, c, style = b.y, b.channels, b.rng.randrange(4)
    ones = ", 1" * b.d
    if style == 0:
        one, two = (b.define(f"nn.{b.nd('Conv')}({i}, {o}, 1)", "fc") for i, o in ((c, max(1, c // 2)), (max(1, c // 2), c)))
        b.let(f"{start}.mean({b.axes}, keepdim=True)")
        b.let(f"torch.sigmoid({two}(F.relu({one}({b.y}))))")
    elif style == 1:
        one, two = b.define(f"nn.Linear({c}, {c})", "fc"), b.define(f"nn.Linear({c}, {c})", "fc")
        b.let(f"{start}.flatten(2).mean(2)")
        b.let(f"torch.sigmoid({two}({b.one('F.relu', 'F.silu')}({one}({b.y})))).view(-1, {c}{ones})")
    elif style == 2:
        one = b.define(
            f"nn.Sequential(nn.{b.nd('AdaptiveAvgPool')}(1), nn.{b.nd('Conv')}({c}, {c}, 1), nn.Hardsigmoid())", "se"
        )
        b.let(f"{one}({start})")
        if b.chance(0.4):
            b.let(f"{b.y}.expand_as({start})")
    else:
        one = b.define(f"nn.{b.nd('Conv')}({c}, {c}, 1, bias=False)", "fc")
        b.let(f"{one}(F.{b.nd('adaptive_avg_pool')}({start}, 1))")  # NAFNet: no gate at all
        b.tag("plain-product")
    times(b, start, b.y)


def written_out(b: Builder) -> None:
    """Activations written out as products of the signal with itself."""
    b.tag("product", "written-out")
    y = b.y
    choices = {
        f"{y} * torch.sigmoid({y})": f"torch.sigmoid({y}) * {y}",
        f"{y} * F.relu6({y} + 3) / 6": f"F.relu6({y} + 3) * {y} / 6",
        f"{y} * torch.tanh(F.softplus({y}))": f"torch.tanh(F.softplus({y})) * {y}",
        f"0.5 * {y} * (1 + torch.erf({y} / math.sqrt(2)))": f"(1 + torch.erf({y} / math.sqrt(2))) * {y} * 0.5",
        f"{y} * {y}": f"torch.mul({y}, {y})",
        f"{y} ** 2": f"{y}.pow(2)",
        f"{y} * F.relu({y})": f"F.relu({y}) * {y}",
        f"{y} * ({y} > 0)": f"({y} > 0) * {y}",
        f"torch.where({y} > 0, {y}, 0.1 * {y})": f"torch.where({y} <= 0, 0.1 * {y}, {y})",
        f"{y} / (1 + {y}.abs())": f"(1 / (1 + {y}.abs())) * {y}",
        f"{y} * torch.exp(-{y}.abs())": f"torch.exp(-{y}.abs()) * {y}",
    }
    text = b.rng.choice(list(choices))
    b.let(text, swapped=choices[text])


def softmaxed(b: Builder) -> None:
    """Attention weights by a softmax, and products through einsum or matmul."""
    b.tag("product", "softmax")
    start, style = b.y, b.rng.randrange(3)
    if style == 0:
        gate = convolution(b, start, 1)
        b.let(f"torch.softmax({gate}.flatten(2), -1).view_as({gate})")
        b.need(b.scope[b.y].shape[2:] == b.scope[start].shape[2:])
        times(b, start, b.y)
    elif style == 1:
        b.let(f"{start} * torch.softmax({start}, 1)")
    else:
        mix = b.define("nn.Parameter(torch.zeros(2))", "mix")
        one = convolution(b, start, b.channels)
        b.need(b.scope[one].shape == b.scope[start].shape)
        b.let(f"{mix}.softmax(0)[0] * {start} + {mix}.softmax(0)[1] * {one}")

"""Where branches meet: sums, differences, concatenations; skips with things on them; averages around them."""

from collections.abc import Callable

from tests.nets import layers
from tests.nets.build import Builder


def activation(b: Builder) -> None:
    b.rng.choice((layers.relu, layers.relu, layers.relu, layers.smooth, layers.kinked))(b)


def branch(b: Builder, start: str, out: int | None = None) -> str:
    """One to three layers above `start` that keep its positions; the name of their result."""
    b.y = start
    channels = b.channels if out is None else out
    if b.chance(0.25):
        activation_out_of_place(b)
    layers.conv(b, out=channels, same=True)
    if b.chance(0.4):
        activation(b)
        layers.conv(b, out=channels, same=True)
    if b.chance(0.25):
        layers.batch_norm(b)
    if b.chance(0.15):
        layers.dropout(b)
    return b.y


def activation_out_of_place(b: Builder) -> None:
    """A gate that leaves what it reads as it is, since a skip starts there."""
    b.tag("relu")
    b.let(b.one("F.relu({y})", "F.relu({y})", "F.silu({y})", "F.gelu({y})", "F.leaky_relu({y}, 0.2)").format(y=b.y))


def added(b: Builder, one: str, other: str) -> None:
    """The sum of two tensors, as it may be written."""
    style = b.rng.choice((0, 0, 0, 0, 3, 3, 4, 5, 6, 7, 8, 8))
    if style == 0:
        b.let(f"{one} + {other}", swapped=f"{other} + {one}")
    elif style == 3:
        b.y = one
        b.inplace(f"{one} += {other}")
    elif style == 4:
        b.let(f"torch.add({one}, {other}, alpha=2)", twin=f"{one} + 2 * {other}")
    elif style == 5:
        b.tag("difference")
        b.let(f"{one} - {other}", twin=f"{one}.sub({other})", swapped=f"-{other} + {one}")
    elif style == 6:
        b.tag("difference")
        b.let(f"{one}.sub({other}, alpha=2)", twin=f"{one} - 2 * {other}")
    elif style == 7:
        b.let(f"({one} + {other}) / 2", swapped=f"({other} + {one}) / 2")
    else:
        b.y = one
        b.inplace(f"{one}.add_({other})")


def residual(b: Builder) -> None:
    """y + f(y), post- or pre-activation."""
    b.tag("skip")
    start = b.y
    top = branch(b, start)
    b.need(b.scope[top].shape == b.scope[start].shape)
    added(b, *((top, start) if b.chance(0.6) else (start, top)))
    if b.chance(0.5):
        activation(b)


def trunk(b: Builder) -> None:
    """Some blocks, each with the same thing on its skip."""
    b.tag("skip", "trunk")
    on_skip = b.one("nothing", "norm", "factor", "dropout", "projection", "gamma")
    after = b.chance(0.6)
    gate = b.one("F.relu({y})", "F.relu({y})", "F.gelu({y})", "F.leaky_relu({y}, 0.2)")
    b.tag(f"skip-{on_skip}")
    for _ in range(b.one(2, 2, 3)):
        start, channels = b.y, b.channels
        if not after:
            b.let(gate.format(y=b.y))
        top = layers.conv(b, out=channels, same=True)
        b.y = start
        skip = _on_skip(b, on_skip)
        if on_skip == "gamma":
            gamma = b.define(f"nn.Parameter(torch.full(({channels},{' 1,' * b.d}), {b.one(0.1, 1.0, 1e-4)}))", "gamma")
            b.let(f"{skip} + {gamma} * {top}", swapped=f"{top} * {gamma} + {skip}")
        else:
            b.let(f"{top} + {skip}", swapped=f"{skip} + {top}")
        if after:
            b.let(gate.format(y=b.y))


def _on_skip(b: Builder, kind: str) -> str:
    if kind == "norm":
        layers.batch_norm(b)
    elif kind == "factor":
        b.let(b.one(f"{b.y} * 0.9", f"0.5 * {b.y}", f"-{b.y}"))
    elif kind == "dropout":
        layers.dropout(b)
    elif kind == "projection":
        name = b.define(f"nn.{b.nd('Conv')}({b.channels}, {b.channels}, 1, bias=False)", "project")
        b.let(f"{name}({b.y})")
    return b.y


def same_paths_meet(b: Builder) -> None:
    """Sums of copies of one tensor, whose paths carry the same weights and so add before they are squared."""
    b.tag("copies-meet")
    y, axes = b.y, b.axes
    pooled = f"F.{b.nd('avg_pool')}({y}, 3, 1, 1)"
    choices = {
        f"{y} + {y}": f"2 * {y}",
        f"{y} - 0.5 * {y}": f"{y} * 0.5",
        f"{y} - {pooled}": f"-{pooled} + {y}",
        f"{y} + {pooled}": f"{pooled} + {y}",
        f"{y} - {y}.mean({axes}, keepdim=True)": f"{y} - torch.mean({y}, {axes}, keepdim=True)",
        f"{y} - F.{b.nd('max_pool')}({y}, 3, 1, 1)": f"{y}.sub(F.{b.nd('max_pool')}({y}, 3, 1, 1))",
        f"torch.lerp({y}, {pooled}, 0.3)": f"{y} + 0.3 * ({pooled} - {y})",
        f"{y} - F.relu({y})": f"-F.relu({y}) + {y}",
        f"{y} + torch.roll({y}, 1, -1)": f"torch.roll({y}, 1, -1) + {y}",
        f"{y} + {y}.flip(-1)": f"{y}.flip(-1) + {y}",
        f"torch.cat([F.relu({y}), F.relu(-{y})], 1)": f"torch.cat((torch.relu({y}), torch.relu(-{y})), dim=1)",
    }
    text = b.rng.choice(list(choices))
    if "roll" in text or "flip" in text:
        b.tag("asymmetric")
    if "pool" in text or "mean" in text:
        b.tag("average")
    b.let(text, twin=choices[text])


def copies_of_channels(b: Builder) -> None:
    """Copies of channels that meet again through a shuffle, a split or an average over channels."""
    b.tag("copies-of-channels")
    y, c = b.y, b.channels
    style = b.rng.randrange(5)
    if style == 0 and b.d == 2:
        b.tag("asymmetric")
        b.let(f"F.pixel_shuffle(torch.cat([{y}] * 4, 1), 2)")
        b.let(f"F.avg_pool2d({b.y}, 2)")
    elif style == 1:
        b.let(f"{y}.repeat_interleave(2, 1)")
        b.let(f"{b.y}[:, :{c}] + {b.y}[:, {c}:]")
    elif style == 2:
        b.need(c > 1)
        b.let(f"{y} + {y}.flip(1)")
    elif style == 3:
        b.let(f"{y}.mean(1, keepdim=True)")
    else:
        b.let(f"{y} + {y}.sum(1, keepdim=True)")


def concatenated(b: Builder) -> None:
    b.tag("concat")
    start = b.y
    top = branch(b, start, out=b.one(1, 2, 3))
    b.need(b.scope[top].shape[2:] == b.scope[start].shape[2:])
    b.let(f"torch.cat([{start}, {top}], dim=1)" if b.chance(0.5) else f"torch.cat(({top}, {start}), 1)")
    if b.chance(0.3):
        activation(b)


def split(b: Builder) -> None:
    """Parts of the channels, treated apart."""
    b.tag("split")
    y, c = b.y, b.channels
    b.need(c >= 2)
    style = b.rng.randrange(6)
    if style == 0:
        left, right = b.name("a"), b.name("b")
        b.line(f"{left}, {right} = torch.chunk({y}, 2, 1)", twin=f"{left}, {right} = {y}.chunk(2, dim=1)")
        b.y = right
        layers.conv(b, out=b.channels, same=True)
        b.let(f"torch.cat([{left}, {b.y}], 1)")
    elif style == 1:
        b.let(f"{y}[:, {b.one('1:', ':-1', '::2', '-99:1', '1:99')}]")
    elif style == 2:
        b.tag("asymmetric")
        b.let(f"{y}[..., {b.one('1:', ':-1', '::2', '-99:', ':99', '-2:', 'None:2')}]")
    elif style == 3:
        b.need(c % 2 == 0)
        b.tag("channel-shuffle")
        size = ", ".join(map(str, b.spatial))
        b.let(f"{y}.view(-1, 2, {c // 2}, {size}).transpose(1, 2).reshape(-1, {c}, {size})")
    elif style == 4:
        first = b.rng.randint(1, c - 1)
        b.let(f"torch.cat(torch.split({y}, [{first}, {c - first}], 1)[::-1], 1)")
    else:
        b.need(b.d == 2 and c % 4 == 0)
        b.tag("pixel-shuffle", "asymmetric")
        b.let(f"F.pixel_shuffle({y}, 2)")


def averages_around(b: Builder, inner: Callable[[Builder], None]) -> None:
    """An average below and one above of something: pairs of positions are carried through it."""
    b.tag("averages-around", "average")
    b.need(min(b.spatial) >= 3)
    b.let(f"F.{b.nd('avg_pool')}({b.y}, 2, 1)")
    inner(b)
    b.need(len(b.spatial) == b.d and min(b.spatial) >= 2)
    b.let(f"F.{b.nd('avg_pool')}({b.y}, 2, 1)")
    b.tag("asymmetric")

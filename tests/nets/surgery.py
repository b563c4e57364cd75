"""What a graph of values alone does not show: writes into views, regions without gradient, changed backward passes."""

from tests.nets.build import Builder

STRAIGHT = """class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.sign()
    @staticmethod
    def backward(ctx, g):
        return g"""

SCALED = """class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        return y.view_as(y)
    @staticmethod
    def backward(ctx, g):
        return -0.3 * g"""

CLIPPED = """class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return y.clamp(-1, 1)
    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (y.abs() < 2)"""


def views(b: Builder) -> None:
    """In-place writes into parts of a tensor."""
    b.tag("inplace-view", "asymmetric")
    y = b.y
    if y == "x":
        y = b.let("x.clone()")
    rows = ":, :" if b.d > 1 else ":"
    statement = b.one(
        f"{y}[{rows}, :2] = 0", f"{y}[:, 0].zero_()", f"{y}[..., ::2] *= 2", f"{y}[:, :1] += 1", f"{y}[..., -1] = 0.0",
        f"{y}[:, 0] = {y}[:, -1]", f"{y}[..., 1:].mul_(-1)", f"{y}[:, :1].relu_()", f"{y}[..., 0].fill_(1)",
        f"{y}.narrow(-1, 0, 2).mul_(0.5)", f"{y}.select(1, 0).mul_(3)", f"{y}[:, 1:] -= {y}[:, :1]",
        f"{y}.view(-1)[0] = 0.0" if b.chance(0.1) else f"{y}.flatten(1)[:, 0] *= 0", f"{y}.transpose(1, -1)[:, 0] = 0",
        f"{y}[..., -99:1] = 0", f"{y}.masked_fill_({y} < 0, 0.0)", f"{y}[{y} < 0] = 0", f"{y}.chunk(2, 1)[0].mul_(2)",
    )  # fmt: skip
    b.line(statement)


def whole(b: Builder) -> None:
    """In-place calls on a whole tensor, some of which another name still reads."""
    b.tag("inplace")
    y = b.y
    if y == "x":
        y = b.let("x * 1")
    style = b.rng.randrange(4)
    if style == 0:
        b.line(f"{y}.mul_(0.5).add_(1)")
    elif style == 1:
        other = b.name("view")
        b.line(f"{other} = {y}.view({y}.shape)\n{other} *= 2")
    elif style == 2:
        other = b.name("kept")
        b.line(f"{other} = {y}\n{y} = {y} * 2\n{other}.mul_(3)")
        b.let(f"{y} + {other}")
    else:
        b.line(b.one(f"{y}.clamp_(-1, 1)", f"{y}.tanh_()", f"{y}.sigmoid_()", f"{y}.neg_()", f"{y}.abs_()"))


def cut(b: Builder) -> None:
    """A branch through which no gradient comes."""
    b.tag("no-gradient")
    start, style = b.y, b.rng.randrange(8)
    conv = b.define(f"nn.{b.nd('Conv')}({b.channels}, {b.channels}, 3, padding=1, bias=False)", "conv")
    name = b.name("y")
    if style == 0:
        b.tag("no_grad")
        b.line(f"with torch.no_grad():\n    {name} = {conv}({start})")
        b.let(f"{start} + {name}", swapped=f"{name} + {start}")
    elif style == 1:
        b.tag("no_grad")
        b.line(f"with torch.no_grad():\n    {name} = {conv}({start})")
        b.y = name
    elif style == 2:
        b.tag("detach")
        b.let(f"{conv}({start}.detach()) + {start}")
    elif style == 3:
        b.tag("detach")
        b.let(f"{start} * torch.sigmoid({conv}({start})).detach()")
    elif style == 4:
        b.tag("straight-through")
        b.let(f"{start} + ({start}.round() - {start}).detach()")
    elif style == 5:
        b.tag("floor")
        b.let(
            b.one(
                f"{start} // 2 + {start}",
                f"torch.div({start}, 2, rounding_mode='floor') + {start}",
                f"{start}.floor() + {conv}({start})",
            )
        )
    elif style == 6:
        b.tag("cast")
        b.let(f"{start}.{b.one('int()', 'long()', 'to(torch.int32)')} + {conv}({start})")
    else:
        b.tag("sign")
        b.let(b.one(f"{start}.sign() + {start}", f"({start} > 0).float() + {conv}({start})", f"{start}.data + {start}"))


def backward(b: Builder) -> None:
    """Gradients changed on their way back."""
    b.tag("changed-backward")
    style = b.rng.randrange(5)
    if style == 0:
        b.tag("hook")
        y = b.y if b.y != "x" else b.let("x * 1")
        b.line(f"if {y}.requires_grad:\n    {y}.register_hook(lambda g: 2 * g)")
    elif style == 1:
        b.tag("hook")
        name = b.define(f"nn.{b.nd('Conv')}({b.channels}, 2, 1, bias=False)", "conv")
        b.setup(f"{name}.register_full_backward_hook(lambda m, gi, go: (0.5 * gi[0],))")
        b.let(f"{name}({b.y})")
    else:
        b.tag("custom-function")
        kind, text = (("Straight", STRAIGHT), ("Scaled", SCALED), ("Clipped", CLIPPED))[style - 2]
        b.helper(kind, text)
        b.let(f"{kind}.apply({b.y})")


def frozen_module(b: Builder) -> None:
    """A layer that is not trained: its weights are random all the same, and gradients pass through it."""
    b.tag("requires-grad-false")
    name = b.define(f"nn.{b.nd('Conv')}({b.channels}, 3, 3, padding=1, bias=False)", "frozen")
    b.setup(f"{name}.requires_grad_(False)", after=True)
    b.let(f"{name}({b.y})")

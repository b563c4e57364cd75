"""Which reason weakens which net: one row per reason, and one beside it that does not have it."""

import pytest

from landscape import Guarantee, predict
from landscape.prior import Gates
from landscape.warrant.guarantee import assess
from lattice import (
    Activation,
    AdaptivePool,
    Blur,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pad,
    Pool,
    UnsupportedError,
    Upsample,
    concatenate,
    residual,
)
from lattice.errors import listed

EXACT, WIDE, APPROXIMATE = Guarantee.EXACT, Guarantee.WIDE_LIMIT, Guarantee.APPROXIMATE
relu, leaky = Activation("relu"), Activation("leaky_relu", 0.2)
CONV = Conv(4, 3, padding=1)
HEAD = [Flatten(), Dense(2)]


@pytest.mark.parametrize(
    ("op", "averages"),
    [
        (Pool("avg", 2), True),
        (Pool("avg", 1), False),
        (Pool("avg", (1, 2)), True),
        (Pool("avg", (2, 1)), True),
        (AdaptivePool("avg", (8, 6)), False),
        (AdaptivePool("avg", (8, 4)), True),
        (GlobalPool("avg"), True),
        (Blur(padding=1), True),
        (Upsample(2), False),
        (Upsample(2, mode="linear"), True),
        (Pad(1, "circular"), False),
        (Conv(4, 3, 2), False),
        (Norm(), False),
        (residual([Conv(4, 1), Pool("avg", 3, 1, padding=1)], [Conv(4, 1)]), True),
        (residual([Conv(4, 1)], [Conv(4, 1), Pool("avg", 3, 1, padding=1)]), True),
        (concatenate([Conv(4, 1)], [Conv(4, 1)]), False),
    ],
    ids=str,
)
def test_gates_share_a_filter_below_what_averages_over_positions(op, averages):
    layers = [CONV, relu, op, Conv(4, 1), *HEAD]
    guarantee, reasons = assess(Lattice.chain((2, 8, 6), layers))
    shared = "relu under an average: gates at different positions share a filter (activation1)"
    assert (shared in reasons) == averages
    assert guarantee is (APPROXIMATE if averages else EXACT)
    above = Lattice.chain((2, 8, 6), [op, CONV, relu, *HEAD])
    assert not any("under an average" in reason for reason in assess(above)[1])


@pytest.mark.parametrize(
    ("layers", "guarantee", "reason"),
    [
        ([CONV, relu], EXACT, None),
        ([CONV, relu, relu], EXACT, None),
        ([CONV, residual([CONV]), relu], WIDE, "relu of a sum of branches: open half of the time in the wide limit"),
        ([CONV, residual([CONV]), leaky], WIDE, "leaky_relu of a sum of branches"),
        ([CONV, residual([CONV]), Activation("abs")], EXACT, None),
        ([CONV, residual([CONV]), Activation("leaky_relu", 1.0)], EXACT, None),
        ([CONV, residual([CONV]), Activation("leaky_relu", -1.0)], EXACT, None),
        ([CONV, relu, residual([CONV]), relu], APPROXIMATE, "relu of values that are not symmetric"),
        ([relu, CONV], APPROXIMATE, "relu of the data itself"),
        ([CONV, Activation("silu")], APPROXIMATE, "silu: its slope depends on how large the signal is"),
        ([CONV, relu, Activation("sigmoid")], APPROXIMATE, "sigmoid: its slope depends on how large the signal is"),
        ([CONV, Pool("max", 2)], APPROXIMATE, "max-pool: which cell wins depends on the data, taken as equally likely"),
        ([CONV, AdaptivePool("max", 3)], APPROXIMATE, "max-pool: which cell wins"),
        ([CONV, GlobalPool("max")], APPROXIMATE, "max-pool: which cell wins"),
        ([CONV, Norm("batch"), relu], EXACT, None),
        ([CONV, Norm("scale"), relu], EXACT, None),
        ([CONV, Norm("layer"), relu], APPROXIMATE, "layer norm: divides by the variance of the signal"),
        ([CONV, Norm("group", 2), relu], APPROXIMATE, "group norm: divides by"),
        ([CONV, Norm("instance"), relu], APPROXIMATE, "instance norm: divides by"),
        ([CONV, residual([CONV, relu], [CONV])], EXACT, None),
        ([CONV, residual([CONV, relu], [CONV, relu])], APPROXIMATE, "a gated branch added to another one"),
        ([residual([Conv(2, 3, padding=1), relu])], APPROXIMATE, "a gated branch added to another one"),
        ([CONV, residual([CONV]), residual([CONV, relu])], WIDE, "a gated branch added to a sum of branches"),
        ([CONV, residual([CONV]), residual([CONV])], EXACT, None),
        ([CONV, Activation("identity"), GlobalPool()], EXACT, None),
        ([CONV, Activation("abs"), GlobalPool()], APPROXIMATE, "abs under an average"),
        ([CONV, relu, relu, Pool("avg", 2)], APPROXIMATE, "relu under an average"),
    ],
    ids=str,
)
def test_a_net_is_as_exact_as_its_weakest_reason(layers, guarantee, reason):
    found, reasons = assess(Lattice.chain((2, 6, 6), [*layers, *HEAD]))
    assert found is guarantee
    assert (reasons == ()) == (guarantee is EXACT)
    assert reason is None or any(text.startswith(reason) for text in reasons), reasons


def test_a_shift_takes_the_symmetry_of_what_a_gate_reads():
    net = Lattice.chain((2, 6), [CONV, relu, CONV, relu, *HEAD])
    guarantee, (reason,) = assess(net, {"conv2"})
    assert guarantee is APPROXIMATE
    assert reason.startswith("relu of values that are not symmetric")
    assert reason.endswith("(activation2)")


def test_what_was_counted_is_said_where_it_was_and_nowhere_else():
    nodes = [Node("input", Input((2, 6))), Node("conv", CONV, (0,)), Node("silu", Activation("silu"), (1,))]
    nodes += [Node("gate", Activation("sigmoid"), (1,)), Node("product", Multiply(), (2, 3))]
    nodes += [Node("one", Pool("max", 2), (4,)), Node("two", Pool("max", 2, 1), (5,)), Node("top", Conv(1, 1), (6,))]
    gates = Gates({"silu": 0.5}, taps={"one": None}, source="counted somewhere")
    reasons = assess(Lattice(tuple(nodes)), gates=gates)[1]
    assert "silu: its slope depends on how large the signal is; counted somewhere (silu)" in reasons
    assert "max-pool: which cell wins depends on the data, counted somewhere (one)" in reasons
    assert "max-pool: which cell wins depends on the data, taken as equally likely (two)" in reasons
    assert "a product of two signals: the size of each factor depends on the data, counted somewhere (product)" in reasons
    skip = Lattice.chain((2, 6), [CONV, relu, residual([CONV]), relu, *HEAD])
    counted = assess(skip, gates=Gates({"activation2": 0.6}, source="counted somewhere"))[1]
    assert counted[0].endswith("not open half of the time; counted somewhere (activation2)")
    assert "counted" not in assess(skip)[1][0]


def test_gates_on_branches_that_meet_again_are_taken_as_independent():
    meeting = "a gate on a branch that meets another one without fresh weights: taken as independent"
    gated = assess(Lattice.chain((2, 6), [CONV, residual([relu]), *HEAD]))
    assert gated[0] is APPROXIMATE
    assert f"{meeting} (activation1)" in gated[1]
    for branch in ([CONV, relu], [Pool("avg", 3, 1, padding=1)]):
        assert not any(meeting in reason for reason in assess(Lattice.chain((4, 6), [CONV, residual(branch), *HEAD]))[1])


def test_a_maximum_beside_its_own_signal_is_refused():
    """y - max(y) is never positive: a gate above is closed, which no moments of independent branches know."""
    net = Lattice.chain((2, 6), [CONV, residual([Pool("max", 3, 1, padding=1)]), *HEAD])
    with pytest.raises(UnsupportedError, match=r"pool1: branches of one signal.* through a maximum"):
        predict(net)


def test_the_weakest_reasons_come_first_and_alike_ones_together():
    layers = [CONV, residual([CONV]), relu, *[part for _ in range(6) for part in (CONV, Activation("silu"))], *HEAD]
    guarantee, reasons = assess(Lattice.chain((2, 6), layers))
    assert guarantee is APPROXIMATE
    assert reasons[0].endswith("(activation2, activation3, activation4, activation5 and 2 more)")
    assert reasons[-1].startswith("relu of a sum of branches")
    assert len(reasons) == 2


def test_a_list_of_names_ends_after_four():
    assert listed(list("abc")) == "a, b, c"
    assert listed(list("abcd")) == "a, b, c, d"
    assert listed(list("abcde")) == "a, b, c, d and 1 more"
    assert listed(list("abcdefg"), most=2) == "a, b and 5 more"


@pytest.mark.parametrize("size", [6, 64])
def test_what_two_inputs_share_is_named_where_it_is_not_followed(size):
    """Behind a maximum, and behind a sum over so many positions that their pairs are not carried."""
    layers = [Conv(4, 3, padding=1), Pool("max", 2), Norm("batch"), Activation("relu")]
    rest = [residual([Conv(4, 3, padding=1)]), Norm("batch"), Flatten(), Dense(1)]
    found = predict(Lattice.chain((2, size, size), [*layers, *rest]), mode="train").reasons
    told = [reason.split("positions ")[1] for reason in found if "in common at two positions" in reason]
    alone = "is taken from each position alone ({})"
    few, many = ["is taken as that of averages (pool1)"], [alone.format("pool1"), alone.format("add1")]
    assert told == (few if size == 6 else many)

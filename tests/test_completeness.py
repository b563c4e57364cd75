"""A layer that is added in one room only cannot land: every op has a rule for every analysis."""

import dataclasses

import pytest

from landscape.laws import guarantee
from landscape.laws.connections import first_moment, pair_moment, second_moment
from landscape.structure import channel_runs, correlated_positions, shared_signal
from landscape.structure.plan import axis_maps
from landscape.structure.signs import output_sign
from landscape.tracing.proof.replay import apply
from lattice import Input, Node, Op
from lattice.network import ops
from lattice.network.shapes import output_shape
from lattice.sweep.choices import choices
from lattice.sweep.pullback import pull
from validation.montecarlo.modules import module

OPS = [op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, Op) and dataclasses.is_dataclass(op)]
RULES = {
    "shape": output_shape, "pull-back": pull, "route": choices, "sign": output_sign, "build": module, "replay": apply,
    "second moment": second_moment, "positions": axis_maps, "shared channels": shared_signal._read,
    "correlation": correlated_positions._correlates, "guarantee": guarantee._findings, "runs": channel_runs._runs,
}  # fmt: skip
NOT_FOR_INPUT = RULES.keys() - {"sign", "guarantee", "runs"}  # the input is where these stop


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_every_op_has_every_rule(op, rule):
    if (op is Input and rule in NOT_FOR_INPUT) or (issubclass(op, ops.Summed) and rule == "route"):
        pytest.skip("by design: routes end at the input, and the branches of a sum or product are the lattice's to know")
    if issubclass(op, ops.Weighted) and rule == "shared channels":
        pytest.skip("by design: nothing is shared through fresh weights")
    assert RULES[rule].dispatch(op) is not RULES[rule].dispatch(object)


@pytest.mark.parametrize(
    "op", [op for op in OPS if op is not Input and not issubclass(op, ops.Weighted)], ids=lambda op: op.__name__
)
def test_every_op_that_pairs_of_positions_pass_has_their_moments(op):
    windowed = issubclass(op, ops.Windowed)  # their maps tell
    assert windowed or pair_moment.dispatch(op) is not pair_moment.dispatch(object)
    if issubclass(op, ops.Windowed | ops.Pointwise | ops.Summed):  # what lies between two branches of one signal
        assert first_moment.dispatch(op) is not first_moment.dispatch(object)


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("shape", ((1, 3),)), ("pull-back", ((), None, None)), ("route", ((), None)), ("sign", ([],)), ("build", ((),)),
        ("replay", (None,)),
        ("second moment", (None, Node("x", Input((1,))), 0)), ("positions", ((), ())), ("shared channels", (None, (), ())),
        ("correlation", ((), False)), ("guarantee", (Node("x", Input((1,))), (), False, [], None)), ("runs", ([], ())),
    ],
)  # fmt: skip
def test_a_new_op_is_refused_by_name_and_told_where_to_register(rule, arguments):
    class Mystery(Op):
        pass

    with pytest.raises(ValueError, match=r"Mystery.*register"):
        RULES[rule](Mystery(), *arguments)

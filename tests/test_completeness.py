"""A layer that is added in one room only cannot land: every op has a rule for every analysis."""

import dataclasses

import pytest

from landscape.gains import output_sign
from landscape.replay import apply
from lattice import Input, Op, ops
from lattice.pullback import pull
from lattice.routes import choices
from lattice.shapes import output_shape
from validation.montecarlo.build import module

OPS = [op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, Op) and dataclasses.is_dataclass(op)]
RULES = {"shape": output_shape, "pull-back": pull, "route": choices, "sign": output_sign, "build": module, "replay": apply}
NOT_FOR_INPUT = {"shape", "pull-back", "route", "build", "replay"}  # the input is where these stop


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_every_op_has_every_rule(op, rule):
    if (op is Input and rule in NOT_FOR_INPUT) or (issubclass(op, ops.Summed) and rule == "route"):
        pytest.skip("by design: routes end at the input, and the branches of a sum or product are the lattice's to know")
    assert RULES[rule].dispatch(op) is not RULES[rule].dispatch(object)


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("shape", ((1, 3),)),
        ("pull-back", ((), None, None)),
        ("route", ((), None)),
        ("sign", ([],)),
        ("build", ((),)),
        ("replay", (None,)),
    ],
)
def test_a_new_op_is_refused_by_name_and_told_where_to_register(rule, arguments):
    class Mystery(Op):
        pass

    with pytest.raises(ValueError, match=r"Mystery.*register"):
        RULES[rule](Mystery(), *arguments)

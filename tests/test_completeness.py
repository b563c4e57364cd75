"""A layer that is added in one place only cannot land: every op has a rule for every analysis, or the test names it."""

import dataclasses
import importlib
import pkgutil
from collections import Counter

import pytest

import landscape
import lattice
import validation.montecarlo
from lattice import Activation, Dropout, Op
from lattice.network import ops


def rules():
    """All functions of the packages that are dispatched over ops, by address."""
    found = {}
    for package in (lattice, landscape, validation.montecarlo):
        for part in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if part.name.startswith("lattice.testing"):  # what theorems are about, not analyses: they may refuse an op
                continue
            module = importlib.import_module(part.name)
            for name, rule in vars(module).items():
                if not hasattr(rule, "dispatch") or getattr(rule, "__module__", "") != module.__name__:
                    continue
                kinds = set(rule.registry) - {object}
                if kinds and all(issubclass(kind, Op) for kind in kinds):
                    found[f"{module.__name__}.{name}"] = rule
    return found


OPS = [op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, Op) and dataclasses.is_dataclass(op)]
RULES = rules()
WINDOWED, WEIGHTED = ops.Windowed, ops.Weighted
WITHOUT_WEIGHTS = (ops.Pointwise, ops.Rearrangement, ops.Merge, ops.Pooling, ops.Pad, ops.Blur, ops.Upsample)
EVERYWHERE = (ops.Input,)  # where most analyses stop
# by design: what no rule is asked of, with the reason
NOT_ASKED = {
    "landscape.laws.connections.first_moment": (ops.Input, WEIGHTED, ops.Rearrangement, ops.Concat),  # paths pass, or end there
    "landscape.laws.connections.pair_moment": (ops.Input, WINDOWED, ops.Dense),  # their maps tell
    "landscape.structure.shared_signal._read": (ops.Input, WEIGHTED),  # nothing is shared through fresh weights
    "lattice.sweep.choices.choices": (ops.Input, ops.Summed),  # the branches of a sum are the lattice's to know
    "landscape.weights.fans.fans": (ops.Input, *WITHOUT_WEIGHTS),
    "lattice.network.shapes.sources": (ops.Input, ops.Pointwise, ops.Merge, WINDOWED, ops.Dense),
}
# the base case is right for all that has no rule: it measures the pull-back, runs what the replay says, or says that it does
# not know, so that a coarser law is taken
WITH_A_BASE = {
    "lattice.counts.cost._readings",
    "validation.montecarlo.modules.module",
    "landscape.gates.forward.covariances.passed_pairs",
}


def missing(op):
    """The rules that an op has not."""
    asked = {name: rule for name, rule in RULES.items() if name not in WITH_A_BASE}
    return [
        name
        for name, rule in asked.items()
        if rule.dispatch(op) is rule.dispatch(object) and not issubclass(op, NOT_ASKED.get(name, EVERYWHERE))
    ]


def test_every_op_has_every_rule():
    assert len(RULES) >= 20
    found = {op.__name__: missing(op) for op in OPS}
    assert not any(found.values()), "\n".join(f"{op}: add one with {name}.register" for op in found for name in found[op])


def places(rule):
    """The module where a rule is added."""
    return rule.rpartition(".")[0]


@pytest.mark.parametrize(
    ("trait", "most"), [(ops.Pointwise, 5), (ops.Rearrangement, 4), (ops.Pooling, 2)], ids=lambda value: str(value)
)
def test_a_new_op_touches_six_places_beside_its_class_at_most(trait, most):
    @dataclasses.dataclass(frozen=True, slots=True)
    class Mystery(trait):
        """An op of this kind, without a rule of its own."""

    assert "Mystery" not in {op.__name__ for op in OPS}
    touched = Counter(map(places, missing(Mystery)))
    assert len(touched) <= most, touched


@pytest.mark.parametrize("rule", sorted(set(RULES) - WITH_A_BASE))
def test_a_new_op_is_refused_by_name_and_told_where_to_register(rule):
    @dataclasses.dataclass(frozen=True, slots=True)
    class Mystery(Op):
        """An op of no kind."""

    function = RULES[rule].dispatch(object)
    code = function.__code__
    given = {"node": lattice.Node("x", Activation(), (0,)), "name": "x"}
    names = code.co_varnames[1 : code.co_argcount]
    with pytest.raises(ValueError, match=r"Mystery.*(register|no weights)"):
        function(Mystery(), **{name: given.get(name) for name in names})


def test_what_a_base_case_says_of_known_ops_is_what_their_rules_say():
    shape = ((6, 5),)
    for op in (Activation(), Dropout()):
        base = RULES["lattice.counts.cost._readings"].dispatch(object)
        assert base(op, shape, shape[0])[1] == RULES["lattice.counts.cost._readings"](op, shape, shape[0])[1] == 0

"""An op from outside is right or refused at every step of being added: what is not known is never taken for the identity."""

from dataclasses import dataclass

import numpy as np
import pytest

from landscape import predict
from landscape.laws import connections, guarantee
from landscape.laws.moments import squared_gradients
from landscape.structure import correlated_positions, plan, shared_signal, signs
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Op, PilcroError, Pool, path_counts
from lattice.network import shapes
from lattice.network.ops import Pointwise, Rearrangement
from lattice.sweep import choices, pullback

CHAIN = [Conv(2, 3, padding=1), Flatten(), Dense(1)]


def linear(base):
    @dataclass(frozen=True, slots=True)
    class Double(base):
        """x -> 2 x."""

    return Double


def rearranging(base):
    @dataclass(frozen=True, slots=True)
    class Backwards(base):
        """The cells of the last axis in reverse order."""

    return Backwards


def lattice_rules(op):
    """What CONTRIBUTING asks of a new op, without torch: name, how to register it."""
    backwards = op.__name__ == "Backwards"

    def pulled(self, inputs, cotangent, output):
        return (cotangent[..., ::-1] if backwards else cotangent,)

    def led(self, inputs, unit):
        position = (*unit.position[:-1], inputs[0][-1] - 1 - unit.position[-1]) if backwards else unit.position
        yield None, 0, unit._replace(position=position)

    return [
        lambda: shapes.output_shape.register(op, lambda self, shape: shape),
        lambda: pullback.pull.register(op, pulled),
        lambda: choices.choices.register(op, led),
        lambda: signs.output_sign.register(op, lambda self, inputs: inputs[0]),
    ]


def law_rules(op):
    """What the second-moment law asks beside, each with the right rule."""
    backwards = op.__name__ == "Backwards"
    squared = 1 if backwards else 4

    def maps(self, shape, output):
        turned = plan.freeze(np.eye(shape[-1])[::-1])
        return (((turned, turned),),) if backwards else None

    return [
        lambda: connections.second_moment.register(op, lambda self, rules, node, place: squared),
        lambda: connections.pair_moment.register(op, lambda self, rules, node, axes, place: squared),
        lambda: plan.axis_maps.register(op, maps),
        lambda: shared_signal._read.register(op, lambda self, channels, shape, output: channels),
        lambda: correlated_positions._correlates.register(op, lambda self, spatial, above: above),
        lambda: guarantee._findings.register(op, lambda *_: []),
    ]


def right_or_refused(layers, truth):
    """The map, or None where some rule is missing and its op is named."""
    refusal, land = None, None
    try:
        land = predict(Lattice.chain((1, 5), layers), initialisation=1.0)
    except PilcroError as error:
        refusal = str(error)
    if land is None:
        assert any(type(layer).__name__ in refusal for layer in layers)
        assert "register" in refusal
        return None
    np.testing.assert_allclose(land.squared, truth, rtol=1e-12)
    return land


@pytest.mark.parametrize(
    ("kind", "factor", "base"),
    [(linear, 4.0, Op), (linear, 4.0, Pointwise), (rearranging, 1.0, Op), (rearranging, 1.0, Rearrangement)],
    ids=["linear", "linear, pointwise", "rearranging", "rearranging, by its trait"],
)
def test_a_new_op_is_right_or_refused_at_every_step(base, kind, factor):
    op = kind(base)
    plain = predict(Lattice.chain((1, 5), CHAIN), initialisation=1.0).squared
    layers = [CHAIN[0], op(), *CHAIN[1:]]
    results = []
    for register in [lambda: None, *lattice_rules(op), *law_rules(op)]:
        register()
        results.append(right_or_refused(layers, factor * plain))
    assert results[0] is None
    assert results[-1] is not None


@pytest.mark.parametrize("base", [Op, Pointwise], ids=lambda base: base.__name__)
def test_an_op_of_the_data_after_a_gate_is_never_called_exact(base):
    @dataclass(frozen=True, slots=True)
    class Largest(base):
        """Each cell times whether it is the largest: depends on the data."""

    layers = [Conv(2, 3, padding=1), Activation("relu"), Largest(), Flatten(), Dense(1)]
    for register in [*lattice_rules(Largest), *law_rules(Largest)[:-1]]:  # all but whether Proposition 1 holds
        register()
        assert right_or_refused(layers, None) is None


def test_pairs_of_positions_ask_for_a_rule_of_their_own():
    op = linear(Op)
    rules = law_rules(op)
    for register in [*lattice_rules(op), rules[0], *rules[2:]]:
        register()
    layers = [Pool("avg", 2, 1), op(), GlobalPool("avg"), Flatten(), Dense(1)]
    net = Lattice.chain((1, 5), layers)
    with pytest.raises(PilcroError, match=r"double1: no joint moment .*register"):
        squared_gradients(net, {"dense1": 1.0})
    assert path_counts(net).tolist() == [1, 2, 2, 2, 1]
    rules[1]()
    plain = Lattice.chain((1, 5), [layers[0], *layers[2:]])
    np.testing.assert_allclose(squared_gradients(net, {"dense1": 1.0}), 4 * squared_gradients(plain, {"dense1": 1.0}))


def test_signs_of_an_unknown_op_are_not_guessed():
    op = linear(Op)
    for register in (*lattice_rules(op)[:-1], *law_rules(op)):
        register()
    assert right_or_refused([CHAIN[0], op(), Activation("relu"), *CHAIN[1:]], None) is None

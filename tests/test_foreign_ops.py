"""An op from outside is right or refused at every step of being added: what is not known is never taken for the identity."""

from dataclasses import dataclass

import numpy as np
import pytest

from landscape import predict
from landscape.laws import connections
from landscape.laws.moments import squared_gradients
from landscape.structure import channel_runs, correlated_positions, plan, shared_signal, signs
from landscape.warrant import guarantee
from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Node,
    Op,
    PilcroError,
    Pool,
    commands,
    evenness,
    path_counts,
    path_length_distribution,
)
from lattice.drawing.graph import count_edges
from lattice.network import shapes
from lattice.network.ops import Pointwise, Rearrangement, Summed, Weighted
from lattice.sweep import choices, pullback
from validation import enumerated_squared_gradients

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
        lambda: channel_runs._runs.register(op, lambda self, below, shape: below[0]),
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


def outcome(analysis):
    """What an analysis gives, or that it refused."""
    refusal = ""
    try:
        return analysis()
    except PilcroError as error:
        refusal = str(error)
    assert "register" in refusal
    return None


def doubling_neighbours(base):
    @dataclass(frozen=True, slots=True)
    class Pairs(base):
        """y_i = 2 x_i + x_(i - 1), around: three paths from each unit."""

    return Pairs


def test_counts_of_a_foreign_op_are_right_or_refused():
    op = doubling_neighbours(Op)
    rules = [
        lambda: shapes.output_shape.register(op, lambda self, shape: shape),
        lambda: pullback.pull.register(op, lambda self, inputs, c, output: (2 * c + np.roll(c, -1, -1),)),
    ]
    around = Conv(1, 3, padding=1, mode="circular")
    layers = [around, *[op()] * 40, around]
    plain = path_counts(Lattice.chain((1, 5), [layers[0], layers[-1]]))
    for step in range(3):
        counts = outcome(lambda: path_counts(Lattice.chain((1, 5), layers)))
        lengths = outcome(lambda: path_length_distribution(Lattice.chain((1, 5), layers)))
        spatial = outcome(lambda: path_counts(Lattice.chain((1, 5), layers), channels=False))
        edges = outcome(lambda: count_edges(Lattice.chain((1, 5), layers)))
        even = outcome(lambda: evenness(Lattice.chain((1, 5), layers)))
        assert (spatial, edges, even) == (None, None, None)
        if step < 2:
            assert (counts, lengths) == (None, None)
            rules[step]()
    assert counts.sum() == plain.sum() * 3**40
    assert (lengths.sum(axis=0) == counts).all()
    assert (lengths[:2] == 0).all()


def test_a_foreign_rearrangement_needs_one_rule():
    op = rearranging(Rearrangement)
    layers = [Conv(2, 3, padding=(0, 1)), op(), Pool("avg", 2, 1), Conv(1, 2), Pool("avg", 2, 1)]
    head = [GlobalPool("avg"), Flatten(), Dense(1)]
    assert outcome(lambda: Lattice.chain((1, 6), layers)) is None
    shapes.sources.register(op, lambda self, shape: np.arange(np.prod(shape)).reshape(shape)[..., ::-1])
    net = Lattice.chain((1, 6), [*layers, *head])
    listed = [len(list(commands(net, None, (i,)))) for i in range(6)]
    assert path_counts(net).tolist() == listed
    np.testing.assert_allclose(predict(net, initialisation=1.0).squared, enumerated_squared_gradients(net), rtol=1e-12)


def test_a_foreign_rearrangement_of_channels_asks_for_its_maps():
    @dataclass(frozen=True, slots=True)
    class Turned(Rearrangement):
        """Channels in reverse order."""

    shapes.sources.register(Turned, lambda self, shape: np.arange(np.prod(shape)).reshape(shape)[::-1])
    layers = [Conv(2, 3, padding=1), Turned(), Flatten(), Dense(1)]
    assert outcome(lambda: predict(Lattice.chain((1, 5), layers), initialisation=1.0)) is None
    assert path_counts(Lattice.chain((1, 5), layers)).tolist() == [4, 6, 6, 6, 4]


def test_branches_of_one_signal_that_meet_in_a_foreign_sum_are_refused():
    @dataclass(frozen=True, slots=True)
    class Difference(Summed):
        """a - b."""

    shapes.output_shape.register(Difference, lambda self, one, other: one)
    pullback.pull.register(Difference, lambda self, inputs, c, output: (c, c))
    signs.output_sign.register(Difference, lambda self, inputs: signs.Sign.SUM)
    connections.second_moment.register(Difference, lambda self, rules, node, place: 1)
    connections.pair_moment.register(Difference, lambda self, rules, node, axes, place: 1)
    guarantee._findings.register(Difference, lambda *_: [])
    nodes = [
        Node("input", Input((1, 5))),
        Node("conv", Conv(2, 3, padding=1), (0,)),
        Node("pool", Pool("avg", 3, 1, padding=1), (1,)),
        Node("less", Difference(), (1, 2)),
        Node("flat", Flatten(), (3,)),
        Node("top", Dense(1), (4,)),
    ]
    with pytest.raises(PilcroError, match=r"less: branches of one signal"):
        predict(Lattice(tuple(nodes)), initialisation=1.0)


def test_weights_of_a_foreign_kind_are_asked_for_their_fans():
    @dataclass(frozen=True, slots=True)
    class Scaled(Weighted):
        """A weight for each unit."""

    shapes.output_shape.register(Scaled, lambda self, shape: shape)
    net = Lattice.chain((1, 5), [Scaled()])
    with pytest.raises(PilcroError, match=r"no fans of .*Scaled.*register"):
        predict(net)
    assert outcome(lambda: predict(net, initialisation=1.0)) is None

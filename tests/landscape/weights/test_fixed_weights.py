"""Entries that are fixed, masked, tied or repeated are named; those of independent draws are not."""

import numpy as np
import pytest

from landscape.weights.fixed_weights import frozen, masked, of_one_size, repeated, tied, tied_layers, undecided
from landscape.weights.weight_draws import LayerDraws

SHAPE = (8, 6, 3, 3)


def normal(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape)


def drawn(change=lambda weight: weight, draws=3, name="conv", seed=0, shape=SHAPE):
    """Independent normal draws of one layer, each changed in the same way."""
    first, *others = (change(normal(100 * seed + number, shape)) for number in range(draws))
    layer = LayerDraws(name, first, 2.0**-24, False)
    for weight in others:
        layer.add(weight)
    return layer


def with_part(part, value):
    def change(weight):
        weight[part] = value
        return weight

    return change


def test_independent_draws_are_none_of_these():
    for seed in range(5):
        layer = drawn(seed=seed)
        assert [judge(layer) for judge in (frozen, masked, tied, repeated, of_one_size)] == [None] * 5
        assert not undecided(layer)
    assert tied_layers([drawn(name="a", seed=1), drawn(name="b", seed=2)]) == []


def test_a_filter_that_never_changes_is_counted():
    layer = drawn(with_part((slice(None), slice(None), 1, 1), 0.5))
    assert f"{8 * 6} of its {layer.count} weights are the same in each of 3 draws" in frozen(layer)


def test_a_mask_is_named_by_its_taps():
    layer = drawn(with_part((slice(None), slice(None), 2, slice(None)), 0.0))
    assert "144 of its 432 entries, all those at the taps (2, 0), (2, 1), (2, 2), are zero in every draw" in frozen(layer)
    assert "are exactly zero" in masked(layer)


def test_one_unchanged_entry_of_a_coarse_type_decides_nothing():
    layer = drawn(lambda weight: np.round(weight * 2) / 2, draws=2, shape=(4, 2, 1, 1))
    assert frozen(layer) is None
    assert undecided(layer) == (layer.same is not None)


@pytest.mark.parametrize("factor", [1.0, -2.0])
def test_a_tap_that_is_another_times_a_constant_is_tied(factor):
    def change(weight):
        weight[..., 0, 2] = factor * weight[..., 0, 0]
        return weight

    assert "tied weights: 48 of 432 entries" in tied(drawn(change))


def test_a_filter_that_several_channels_have_is_repeated():
    layer = drawn(lambda weight: np.repeat(weight[:1], len(weight), axis=0), draws=1)
    assert repeated(layer) is not None
    assert tied(drawn(lambda weight: np.repeat(weight[:1], len(weight), axis=0))) is not None


def test_two_layers_of_the_same_draws_are_named_together():
    (said,) = tied_layers([drawn(name="one"), drawn(name="two"), drawn(name="three", seed=5)])
    assert "one" in said
    assert "two" in said
    assert "three" not in said


def test_random_signs_have_one_size():
    assert of_one_size(drawn(np.sign, draws=1)) is not None

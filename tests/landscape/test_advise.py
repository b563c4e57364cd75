"""Advice: every change is a network whose map is flatter, by exact counts and by Monte Carlo."""

import numpy as np
import pytest
from torch import nn

from landscape import advise, predict
from landscape.advise import deviation_from_flat
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Pool, SpecificationError, mean_path_counts, residual
from validation import compare, measure

relu = Activation("relu")
HEAD = [Flatten(), Dense(4)]


def strided(size=32, stages=3):
    return Lattice.chain((1, size), [*[p for _ in range(stages) for p in (Conv(8, 3, 2, padding=1), relu)], *HEAD])


def test_changes_are_ranked_and_flatter():
    advice = advise(strided())
    deviations = [change.deviation for change in advice.changes]
    assert deviations == sorted(deviations)
    assert deviations[-1] < advice.before.deviation
    assert "no claim about accuracy" in str(advice)


def test_an_even_input_size_is_flip_symmetric_by_exact_counts():
    advice = advise(strided(), most=99)
    (change,) = [c for c in advice.changes if c.text.startswith("inputs of 33 pixels, with even")]
    counts = mean_path_counts(change.lattice)
    assert (counts == counts[::-1]).all()
    assert not (mean_path_counts(advice.before.lattice) == mean_path_counts(advice.before.lattice)[::-1]).all()


def test_dividing_kernels_and_circular_padding_are_flat_exactly():
    advice = advise(strided())
    assert advice.changes[0].deviation < 1e-12
    counts = mean_path_counts(advice.changes[0].lattice)
    assert len(set(counts.tolist())) == 1


def test_the_best_change_is_measured_to_be_flatter():
    net = Lattice.chain((2, 16), [Conv(24, 3, 2, padding=1), residual([relu, Conv(24, 3, padding=1)]), relu, *HEAD])
    advice = advise(net)
    for change in (advice.changes[0], advice.changes[-1]):
        estimate = measure(change.lattice, draws=2000, seed=0, initialisation=change.variances)
        agreement = compare(change.landscape, estimate)
        assert agreement.error < 0.03, change.text
        assert deviation_from_flat(estimate.mean) < advice.before.deviation


def test_the_reweighting_makes_the_map_flat_at_once():
    """Scaling the input by w scales the squared gradient at i by w_i^2."""
    advice = advise(strided())
    assert deviation_from_flat(advice.before.landscape.squared * advice.reweighting**2) < 1e-12
    blind = advise(Lattice.chain((1, 9), [Conv(4, 1, 2), *HEAD]))
    assert (blind.reweighting[1::2] == 0).all()
    assert (blind.reweighting[::2] > 0).all()


def test_branch_weights_are_searched_in_residual_nets_only():
    blocks = [residual([relu, Conv(8, 5, padding=2)]) for _ in range(3)]
    net = Lattice.chain((1, 14), [Conv(8, 3, padding=1), *blocks, relu, *HEAD])
    (change,) = [c for c in advise(net, most=99).changes if c.text.startswith("residual branches")]
    assert change.deviation < advise(net).before.deviation
    assert not any("residual" in c.text for c in advise(strided(), most=99).changes)


def test_a_torch_model_keeps_the_variances_of_its_weights():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 4)
    )
    advice = advise(model, (3, 16, 16))
    assert advice.before.landscape.squared.mean() == pytest.approx(predict(model, (3, 16, 16), gates="theory").squared.mean())
    assert any("average pool" in change.text for change in advice.changes)
    figure = advice.plot()
    assert len([ax for ax in figure.axes if ax.images]) == 3
    assert "as it is" in figure.axes[0].get_title()


def test_where_nothing_helps_it_says_so():
    flat = Lattice.chain((1, 8), [Conv(4, 3, padding=1, mode="circular"), GlobalPool("avg")])
    advice = advise(flat)
    assert advice.changes == ()
    assert "nothing that was tried makes this map flatter" in str(advice)


def test_bad_requests_are_refused():
    with pytest.raises(SpecificationError, match="needs the shape of one input"):
        advise(nn.Conv2d(1, 1, 3))
    with pytest.raises(SpecificationError, match="most is 0"):
        advise(strided(), most=0)


def test_an_average_in_place_of_a_stride_keeps_all_shapes():
    net = Lattice.chain((1, 15, 17), [Conv(4, 3, 2, padding=1), Pool("max", 3, 2, padding=1), GlobalPool("avg"), *HEAD])
    texts = [change.text for change in advise(net, most=99).changes]
    assert any(text.startswith("stride 1 and an average pool") for text in texts)
    assert np.isfinite([change.deviation for change in advise(net, most=99).changes]).all()

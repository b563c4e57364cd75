"""Advice: every change is a network whose map is flatter, by exact counts and by Monte Carlo."""

from itertools import chain, count

import numpy as np
import pytest
from torch import nn

from landscape import advise, glorot, he, predict
from landscape.advise import _candidates, _last_layers, _split, deviation_from_flat
from landscape.prior import Prior
from landscape.rewriting import sizes_nearby, with_average_pools, with_dividing_kernels, with_padding_mode
from landscape.weights.initialisation import layer_variances
from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Norm,
    Pad,
    Pool,
    SpecificationError,
    Upsample,
    concatenate,
    mean_path_counts,
    residual,
)
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
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Flatten(),
        nn.Linear(128, 4),
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


# --- rewriting ---------------------------------------------------------------------------------------------------------------

VARIED = Lattice.chain(
    (2, 31, 42),
    [
        Conv(4, (3, 2), (2, 3), padding=(1, 0)),
        Pool("max", 3, (1, 2), padding=1),
        residual([relu, Conv(4, 3, padding=1)], [Conv(4, 1)]),
        Conv(4, 1, 2),
        Pad(1),
        Pool("avg", (3, 2), (2, 1)),
        Conv(4, 2, 2, dilation=(1, 2), padding=1, mode="circular"),
        Pad(1, "reflect"),
        Conv(4, 3, 2, padding="same"),
        Pool("max", 2),
    ],
)


def test_a_stride_divides_the_least_kernel_that_is_not_smaller():
    net = with_dividing_kernels(VARIED)
    changed = []
    for old, new in zip(VARIED.nodes, net.nodes, strict=True):
        if old.op == new.op:
            continue
        changed.append(old.name)
        windows = old.op.windows(VARIED.input_shapes(old)[0][1:]), new.op.windows(net.input_shapes(new)[0][1:])
        for before, after in zip(*windows, strict=True):
            least = next(k for k in count(before.kernel) if k % before.stride == 0)
            assert after.kernel == (least if before.dilation == 1 else before.kernel)
            assert (after.stride, after.padding) == (before.stride, before.padding)
    assert changed == ["conv1", "pool1", "conv4", "pool2"]


def test_strides_become_averages_that_keep_every_shape():
    net = with_average_pools(VARIED)
    shapes = dict(zip(net.names, net.shapes, strict=True))
    for name, shape in zip(VARIED.names, VARIED.shapes, strict=True):
        assert shapes.get(f"{name}.average", shapes[name]) == shape
    averages = {node.name: node.op for node in net.nodes if node.name.endswith(".average")}
    strides = {"conv1": (2, 3), "pool1": (1, 2), "conv4": (2, 2), "conv5": (2, 2)}
    assert averages == {f"{name}.average": Pool("avg", stride, ceil=True) for name, stride in strides.items()}
    assert all(node.op.stride == 1 for node in net.nodes if node.name in strides)
    kept = set(VARIED.names) - set(strides)
    assert all(net.nodes[net.names.index(name)].op == VARIED.nodes[VARIED.names.index(name)].op for name in kept)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_every_padding_with_zeros_and_no_other_copies(mode):
    modes = [getattr(node.op, "mode", None) for node in with_padding_mode(VARIED, mode).nodes]
    zeros = ["conv1", "conv2", "pad1", "conv6"]  # what pads, and not with copies of its own
    for node, found in zip(VARIED.nodes, modes, strict=True):
        assert found == (mode if node.name in zeros else getattr(node.op, "mode", None))
    kept = Upsample(2), Conv(1, 3)
    assert [node.op for node in with_padding_mode(Lattice.chain((1, 5), kept), mode).nodes[1:]] == list(kept)


@pytest.mark.parametrize(("size", "within", "stride"), [(32, 5, 2), (10, 4, 2), (33, 5, 2), (11, 4, 4), (40, 6, 4), (40, 6, 6)])
def test_the_nearest_even_sizes_are_those_of_symmetric_counts(size, within, stride):
    net = Lattice.chain((1, size), [Conv(1, 3, stride), Conv(1, 1)])

    def even(n):
        counts = mean_path_counts(net.at_size(n))
        return bool((counts == counts[::-1]).all())

    near = sorted(abs(n - size) for n in range(size - within, size + within + 1) if n != size and even(n))
    found = sizes_nearby(net)
    assert len(set(found)) == len(found)
    assert all(map(even, found))
    assert [abs(n - size) for n in found] == near[:3]
    assert sizes_nearby(Lattice.chain((1, size, size + 1), [Conv(1, 3, 2)])) == ()


def test_every_change_has_the_variances_of_its_own_fan_in():
    net = Lattice.chain((3, 13, 13), [Conv(4, 3, 2), relu, Conv(6, 3, 2, padding=1), relu, Flatten(), Dense(2)])
    for name, scheme in (("he", he), ("default", None)):
        advice = advise(net, most=99, initialisation=scheme)
        assert advice.before.variances == pytest.approx(layer_variances(net, he)), name
        for change in advice.changes:
            assert change.variances == pytest.approx(layer_variances(change.lattice, he)), change.text
            assert change.lattice != net
            again = predict(change.lattice, initialisation=he).squared
            np.testing.assert_allclose(change.landscape.squared, again, rtol=1e-9)
    assert advise(net, initialisation=glorot).before.variances == pytest.approx(layer_variances(net, glorot))


def test_changes_together_are_those_that_their_words_say():
    net = Lattice.chain((1, 20), [Conv(4, 3, 2, padding=1), relu, Conv(4, 3, 2, padding=1), relu, *HEAD])
    found = {change.text: change for change in _candidates(Prior(net, layer_variances(net, he))) if change is not None}
    (size, *_) = sizes_nearby(net)
    rewrites = {"kernels": with_dividing_kernels, "stride 1": with_average_pools}
    assert sum(text.startswith("inputs of") and ";" not in text for text in found) == len(sizes_nearby(net))
    for mode in ("circular", "reflect", "replicate"):
        ends = f"mode={mode!r} in every padded layer"
        alone, *others = sorted((text for text in found if text.endswith(ends)), key=len)
        assert found[alone].lattice == with_padding_mode(net, mode)
        assert len(others) == 3
        for text in others:
            make = next((make for start, make in rewrites.items() if text.startswith(start)), lambda n: n.at_size(size))
            assert found[text].lattice == with_padding_mode(make(net), mode)
            assert f"{size} pixels" in text or text.startswith(tuple(rewrites))


def test_changes_flatten_by_over_half_a_per_cent_and_are_at_most_as_asked():
    """What is returned is flatter by more than half a per cent and no more than asked for."""
    every, few = advise(strided(), most=99), advise(strided(), most=2)
    assert [change.text for change in few.changes] == [change.text for change in every.changes[:2]]
    assert all(change.deviation < every.before.deviation * 0.995 for change in every.changes)
    assert len(every.changes) > 8 == len(advise(strided()).changes)
    assert all(change.deviation == deviation_from_flat(change.landscape.squared) for change in every.changes)


def test_a_change_that_changes_nothing_of_the_map_is_no_advice():
    around = Conv(1, 3, padding=1, mode="circular")
    net = Lattice.chain((1, 12), [Conv(1, 3, padding=1), residual([around]), *HEAD])  # flat above, whatever the branch weighs
    advice = advise(net, most=1)
    assert len(advice.changes) == 1
    assert not any(change.text.startswith("residual") for change in advise(net, most=99).changes)


def test_the_text_of_an_advice_has_the_numbers_of_its_changes():
    advice = advise(strided())
    text = str(advice).splitlines()
    assert len(text) == 2 + len(advice.changes) + 2
    for line, change in zip(text[1:], (advice.before, *advice.changes), strict=False):
        report = change.report()
        numbers = [f"{change.deviation:.1%}", f"{report.centre_bias:.2f}", f"{max(report.flip_asymmetry):.1%}"]
        assert line.split()[:3] == numbers
        assert line.endswith(change.text)
    seen = advice.reweighting[advice.reweighting > 0]
    assert f"({seen.min():.2f} to {seen.max():.2f})" in text[-2]
    assert len([ax for ax in advice.plot(most=1).figure.axes if ax.get_title()]) == 2


def test_the_reweighting_has_mean_square_one_where_there_are_paths():
    for net in (strided(), Lattice.chain((1, 9), [Conv(4, 1, 2), *HEAD])):
        weights = advise(net).reweighting
        assert np.mean(weights[weights > 0] ** 2) == pytest.approx(1)


# --- branches ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "layers"),
    [
        (residual([Conv(2, 3, padding=1), relu, Conv(2, 3, padding=1), Norm()]), ["conv3"]),
        (residual([Conv(2, 3, padding=1), relu], [Conv(2, 1), Norm()]), ["conv2"]),
        (residual([Conv(2, 1), relu], [Conv(2, 3, padding=1)]), ["conv3"]),
        (residual([Conv(2, (3, 1), padding=(1, 0))], [Conv(2, (1, 3), padding=(0, 1))]), ["conv2"]),
        (residual([Conv(2, 1)], [Conv(2, 1)]), ["conv2"]),
        (concatenate([Conv(2, 3, padding=1)], [Conv(2, 1)]), []),
    ],
    ids=str,
)
def test_the_last_layer_of_a_branch_has_the_variance_that_weighs_it(block, layers):
    net = Lattice.chain((2, 5, 5), [Conv(2, 1), block, relu])
    assert [_last_layers(net, position) for position in range(len(net.nodes))] == [*[[]] * (len(net.nodes) - 2), layers, []]


def test_a_run_of_neighbours_is_split_as_evenly_as_possible():
    for length in range(1, 12):
        items = list(range(length))
        parts = _split(items, 4)
        assert list(chain.from_iterable(parts)) == items
        assert len(parts) == min(4, length)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_weight_of_a_branch_is_the_best_there_is():
    net = Lattice.chain((1, 14), [Conv(8, 3, padding=1), residual([Conv(8, 5, padding=2)]), Flatten(), Dense(4)])
    before = layer_variances(net, he)
    (change,) = [c for c in advise(net, most=99).changes if c.text.startswith("residual branches")]
    assert {name: change.variances[name] for name in ("conv1", "dense1")} == pytest.approx(
        {name: before[name] for name in ("conv1", "dense1")}
    )

    def deviation(factor):
        return deviation_from_flat(predict(net, initialisation={**before, "conv2": before["conv2"] * factor}).squared)

    best = min(map(deviation, np.exp(np.linspace(-4, 4, 33))))
    assert change.deviation <= best * 1.02
    factor = change.variances["conv2"] / before["conv2"]
    assert change.deviation == pytest.approx(deviation(factor))
    assert float(change.text.rsplit(" ", 1)[-1]) == pytest.approx(factor**0.5, rel=0.06)


def test_many_branches_share_four_weights():
    blocks = [residual([Conv(2, 5, padding=2)]) for _ in range(6)]
    net = Lattice.chain((1, 12), [Conv(2, 3, padding=1), *blocks, Flatten(), Dense(1)])
    (change,) = [c for c in advise(net, most=99).changes if c.text.startswith("residual branches")]
    assert len(change.text.split("by ")[1].split(", ")) == 4
    before = layer_variances(net, he)
    factors = [change.variances[f"conv{k}"] / before[f"conv{k}"] for k in range(2, 8)]
    assert factors == pytest.approx([factors[k] for k in (0, 1, 1, 3, 4, 4)])
    assert change.variances["conv1"] == before["conv1"]

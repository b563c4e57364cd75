"""A draw's weights, inputs and cotangents have the laws that they should, independent of each other."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lattice import AssumptionError, Conv, Dense, Flatten, Lattice, SpecificationError, UnsupportedError
from validation import measure
from validation.montecarlo import sampler as sampling
from validation.montecarlo.sampler import Sampler
from validation.montecarlo.sources import LatticeSource, ModuleSource

CPU = torch.device("cpu")


def sampler(source, shape, *, seed=0, batch=1, inputs=None, train=False):
    source = LatticeSource(source, 1.0, "normal") if isinstance(source, Lattice) else ModuleSource(source, CPU)
    return Sampler(source=source, shape=shape, seed=seed, inputs_per_draw=batch, inputs=inputs, device=CPU, train=train)


DENSE = Lattice.chain((1, 40), [Flatten(), Dense(40)])
QUICK = Lattice.chain((2, 5), [Conv(3, 3, padding=1)])


def test_weights_inputs_and_cotangents_of_a_draw_are_independent():
    """Correlations over 100 draws of 40 numbers each, to 5 sigma."""
    draws = sampler(DENSE, (1, 40))
    x, v = draws._inputs(range(100))[:, 0, 0], draws._cotangents(range(100))[:, 0]
    weights = torch.stack([draws.source.draw(draws._seeds(i)[0])[1]["layers.1.weight"].clone() for i in range(100)])
    groups = [x, v, *(weights[:, row] for row in range(3)), x.roll(1, 0), v.roll(1, 0), weights[:, 0].roll(1, 0)]
    correlations = np.corrcoef([group.flatten().numpy() for group in groups])
    assert np.abs(correlations - np.eye(len(groups))).max() < 5 / 4000**0.5
    other = sampler(DENSE, (1, 40), seed=1)
    assert not torch.equal(other._inputs(range(1)), draws._inputs(range(1)))
    assert not torch.equal(other._cotangents(range(3)), draws._cotangents(range(3)))


def test_inputs_are_white_noise_of_variance_one():
    x = sampler(QUICK, (2, 5), batch=50)._inputs(range(100))
    assert x.shape == (100, 50, 2, 5)
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-6


@pytest.mark.parametrize("outputs", [1, 7, 8, 9, 17])
def test_cotangents_are_plus_or_minus_one_whatever_their_number(outputs):
    draws = sampler(Lattice.chain((1, 2), [Flatten(), Dense(outputs)]), (1, 2), batch=3)
    v = draws._cotangents(range(200))
    assert v.shape == (200, 3, outputs)
    assert set(v.unique().tolist()) == {-1, 1}
    assert (v.mean(dim=0).abs() < 6 / 200**0.5).all()
    assert torch.equal(draws._cotangents(range(5, 9)), v[5:9])


def test_all_patterns_of_eight_cotangents_are_equally_likely():
    draws = sampler(QUICK, (2, 5))
    draws.output_shape = (1, 2**20)
    bits = (draws._cotangents(range(1)).reshape(-1, 8) > 0).numpy()
    counts = np.bincount(np.packbits(bits, axis=1).ravel(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-6


def test_a_map_is_the_mean_square_over_inputs_and_channels_over_outputs():
    draws = sampler(lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Conv2d(3, 2, 2)).double(), (2, 4, 5), batch=3)
    x, v = draws._inputs(range(2, 4)), draws._cotangents(range(2, 4))
    for batched in (False, True):
        maps = draws.squares(range(2, 4), batched)
        assert maps.dtype == np.float64
        for row, index in enumerate((2, 3)):
            network, _ = draws.source.draw(draws._seeds(index)[0])
            total = np.zeros((4, 5))
            for image, signs in zip(x[row], v[row], strict=True):
                jacobian = torch.autograd.functional.jacobian(lambda pixels, net=network: net(pixels[None])[0], image)
                total += np.square(torch.einsum("ohw,ohwcij->cij", signs, jacobian).numpy()).sum(axis=0)
            np.testing.assert_allclose(maps[row], total / (3 * 2 * 2 * 2 * 3), rtol=1e-10)


def test_a_network_without_weights_is_measured_too():
    estimate = measure(nn.Flatten, (1, 3), draws=4)
    np.testing.assert_allclose(estimate.mean, 1 / 3)
    assert (estimate.standard_error == 0).all()
    images = np.random.default_rng(0).normal(size=(5, 1, 3))
    assert sampler(nn.Flatten, (1, 3), inputs=images)._inputs(range(2)).dtype == torch.float32


def test_a_network_that_no_input_moves_runs_its_draws_together_too():
    def dead():
        return nn.Sequential(nn.Conv1d(1, 2, 2), nn.Threshold(1e9, 0.0), nn.Conv1d(2, 2, 2))

    draws = sampler(dead, (1, 5))
    assert draws.batches()
    assert (draws.squares(range(2), True) == 0).all()


def test_batched_draws_that_are_a_few_percent_off_are_not_trusted():
    class Off(Sampler):
        def squares(self, indices, batched):
            return super().squares(indices, batched) * (1.03 if batched else 1)

    draws = Off(LatticeSource(QUICK, 1.0, "normal"), (2, 5), 0, inputs_per_draw=1, inputs=None, device=CPU, train=False)
    assert not draws.batches()
    assert sampler(QUICK, (2, 5)).batches()


class Odd(nn.Module):
    def __init__(self, *, meta=False, kind=torch.complex64):
        super().__init__()
        self.first = nn.Conv1d(2, 2, 2)
        self.odd = nn.Parameter(torch.ones(2, device="meta" if meta else "cpu", dtype=kind), requires_grad=False)

    def forward(self, x):
        return self.first(x)


@pytest.mark.parametrize("options", [{}, {"kind": torch.int64}, {"meta": True, "kind": torch.float32}])
def test_weights_that_cannot_be_drawn_are_refused_by_name(options):
    with pytest.raises(UnsupportedError, match="odd: its weights are"):
        measure(lambda: Odd(**options), (2, 5), draws=2)


class Returning(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.net = function, nn.Conv1d(2, 3, 2)

    def forward(self, x):
        return self.function(self.net(x))


@pytest.mark.parametrize(
    "function", [lambda h: (h,), lambda h: h.mean(dim=0, keepdim=True), lambda h: h.argmax(dim=1), lambda h: h.sum()]
)
def test_outputs_that_are_not_one_float_tensor_a_sample_are_refused(function):
    with pytest.raises(UnsupportedError, match="one tensor of floats"):
        measure(lambda: Returning(function), (2, 5), draws=2, inputs_per_draw=2)
    assert sampler(lambda: Returning(lambda h: h[..., 0]), (2, 5), batch=2).output_shape == (2, 3)


def test_in_train_mode_only_a_network_with_batch_norms_needs_a_batch():
    for norms, batch in ((0, 1), (1, 2)):

        def factory(norms=norms):
            return nn.Sequential(nn.Conv1d(2, 3, 2), *(nn.BatchNorm1d(3) for _ in range(norms)))

        assert measure(factory, (2, 5), draws=3, mode="train", inputs_per_draw=batch).draws == 3
    assert measure(factory, (2, 5), draws=3).draws == 3  # in evaluation one input is enough
    with pytest.raises(SpecificationError, match="2 or more"):
        measure(factory, (2, 5), draws=3, mode="train")


def test_one_new_weight_among_many_is_fresh_enough():
    constant = nn.Conv1d(2, 2, 2)

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.constant, self.fresh = constant, nn.Parameter(torch.randn(1))

        def forward(self, x):
            return self.constant(x) * self.fresh

    assert measure(Half, (2, 5), draws=3).draws == 3
    with pytest.raises(AssumptionError, match="same weights twice"):
        measure(lambda: nn.Sequential(constant), (2, 5), draws=3)


def signs(number):
    """A layer of so many signs, of which two draws are the same one time in 2^number."""
    layer = nn.Conv1d(1, number, 1, bias=False)
    nn.init.uniform_(layer.weight, -1, 1)
    layer.weight.data.sign_()
    return nn.Sequential(layer)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_signs_may_be_the_same_twice(number):
    for seed in range(8):
        assert measure(lambda: signs(number), (1, 4), draws=3, seed=seed).draws == 3


def test_the_memory_of_a_draw_is_its_input_and_what_autograd_keeps():
    """The memory of a draw is its input and twice what is kept or once more for every sample in train mode."""

    def convolution():
        return nn.Sequential(nn.Conv1d(2, 6, 3, bias=False), nn.ReLU())

    x, weight, out = 3 * 2 * 10 * 4, 6 * 2 * 3 * 4, 3 * 6 * 8 * 4
    kept = x + weight + out  # the ReLU keeps its output
    evaluation, training = (sampler(convolution, (2, 10), batch=3, train=train) for train in (False, True))
    assert evaluation.bytes_per_draw == x + 2 * (kept + out)
    assert training.bytes_per_draw == x + 4 * (kept + out)
    assert evaluation.parameters == 36


@pytest.mark.parametrize(("budget", "chunk"), [(1, 1), (10.5, 10), (1000, 64)])
def test_a_chunk_holds_as_many_draws_as_the_budget(budget, chunk, monkeypatch):
    draws = sampler(QUICK, (2, 5))
    monkeypatch.setattr(sampling, "BUDGET", int(budget * draws.bytes_per_draw) if budget > 1 else 1)
    assert draws.chunk() == chunk


def test_a_fingerprint_tells_models_and_first_weights_apart():
    def net(kernel, kind=nn.ReLU):
        return lambda: nn.Sequential(nn.Conv1d(2, 3, kernel), kind())

    def shifted():
        model = net(2)()
        with torch.no_grad():
            model[0].bias += 1e-3
        return model

    prints = [
        sampler(source, (2, 5), seed=seed).model
        for source, seed in ((net(2), 0), (net(2), 0), (net(2), 1), (net(3), 0), (net(2, nn.Tanh), 0), (shifted, 0))
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5

"""Monte Carlo: the same draws on every path, the right law, and global state left as it was."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from landscape import Guarantee, predict
from lattice import (
    Activation,
    AssumptionError,
    Conv,
    Dense,
    Flatten,
    Lattice,
    SpecificationError,
    UnsupportedError,
    families,
    residual,
)
from validation import Estimate, Verdict, compare, enumerated_squared_gradients, measure
from validation.montecarlo.sampler import BUDGET, Sampler
from validation.montecarlo.sources import ModuleSource
from validation.runtime.workers import _precisions

FALSE_ALARM = 1e-6


def factory():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2))


def test_a_draw_depends_on_the_seed_and_its_index_only():
    reference = measure(factory, (2, 8, 8), draws=11, seed=3, batched=False)
    for batched, chunk in ((False, 5), (True, 1), (True, 4), (True, 64)):
        again = measure(factory, (2, 8, 8), draws=11, seed=3, batched=batched, chunk=chunk)
        np.testing.assert_allclose(again.blocks, reference.blocks, rtol=1e-5)
    longer = measure(factory, (2, 8, 8), draws=13, seed=3, batched=False)
    assert (longer.blocks[:11] == reference.blocks).all()
    other = measure(factory, (2, 8, 8), draws=11, seed=4, batched=False)
    assert not np.allclose(other.blocks, reference.blocks, rtol=0.1)


def test_blocks_are_means_of_consecutive_draws():
    net = families.plain(6, depth=1, channels=2)
    fine, coarse = measure(net, draws=150), measure(net, draws=450)
    assert len(fine.blocks) == 150
    assert len(coarse.blocks) == 200
    assert coarse.block_draws.sum() == 450
    np.testing.assert_allclose(coarse.mean, np.average(coarse.blocks, axis=0, weights=coarse.block_draws))
    starts = np.concatenate([[0], np.cumsum(coarse.block_draws)])
    inside = [slice(a, b) for a, b in pairwise(starts) if b <= 150]
    for block, part in zip(coarse.blocks, inside, strict=False):
        np.testing.assert_allclose(block, fine.blocks[part].mean(axis=0), rtol=1e-5)


def test_one_linear_layer_follows_the_chi_square_law():
    """g_i = sum_j v_j w_ji is N(0, Z V), so that sum g^2 / (Z V) over draws and pixels is chi-square (tier 1)."""
    net = Lattice.chain((1, 6), [Flatten(), Dense(5)])
    variance, draws = 0.7, 3000
    estimate = measure(net, draws=draws, initialisation=variance)
    total = estimate.mean.sum() * draws / variance
    for true_variance, accepted in ((1.0, True), (1.1, False), (1 / 1.1, False)):
        tail = stats.chi2(draws * 6).cdf(total / true_variance)
        assert (min(tail, 1 - tail) > FALSE_ALARM) == accepted


NETS = {
    "linear": Lattice.chain((1, 9), [Conv(4, 3, padding=1), Conv(4, 3, 2, padding=1), Conv(2, 3, padding=1)]),
    "relu": Lattice.chain(
        (2, 9), [Conv(4, 3, padding=1), Activation("relu"), Conv(4, 3), Activation("relu"), Flatten(), Dense(2)]
    ),
    "residual": Lattice.chain((1, 9), [Conv(4, 3, padding=1), residual([Conv(4, 3, padding=1)]), Conv(2, 3, 2, padding=1)]),
}
WRONG = {  # negative controls: the same nets with one mistake each
    "linear": Lattice.chain((1, 9), [Conv(4, 3, padding=1), Conv(4, 3, 2, padding=(0, 2)), Conv(2, 3, padding=1)]),
    "relu": Lattice.chain(
        (2, 9), [Conv(4, 3, padding=(0, 2)), Activation("relu"), Conv(4, 3), Activation("relu"), Flatten(), Dense(2)]
    ),
    "residual": Lattice.chain((1, 9), [Conv(4, 3, padding=1), Conv(4, 3, padding=1), Conv(2, 3, 2, padding=1)]),
}


@pytest.mark.parametrize("name", NETS)
def test_prediction_and_measurement_agree_and_a_planted_error_does_not(name):
    estimate = measure(NETS[name], draws=2000, seed=7)
    land = predict(NETS[name])
    assert land.guarantee is Guarantee.EXACT
    right = compare(land, estimate, tolerance=0.06, confidence=1 - FALSE_ALARM)
    assert right.verdict is not Verdict.DISAGREE, right
    assert abs(right.scale_ratio - 1) < 5 * right.scale_ratio_error
    wrong = compare(predict(WRONG[name]), estimate, tolerance=0.06, confidence=1 - FALSE_ALARM)
    off_scale = abs(wrong.scale_ratio - 1) > 5 * wrong.scale_ratio_error
    assert wrong.verdict is Verdict.DISAGREE or off_scale, wrong


def test_the_debiased_error_is_the_true_one():
    net = NETS["linear"]
    estimate = measure(net, draws=2000)
    true = predict(net).squared
    tilt = 1 + 0.3 * np.linspace(-1, 1, 9)
    agreement = compare(true * tilt, estimate, tolerance=0.05)
    shape, tilted = true / true.mean(), true * tilt / (true * tilt).mean()
    error = float(np.sqrt(np.mean((shape - tilted) ** 2)))
    low, high = agreement.error_interval
    assert low < error < high
    assert high - low < 0.1
    assert agreement.verdict is Verdict.DISAGREE


def test_without_an_error_the_debiased_error_is_zero_as_often_as_not():
    """An unbiased estimate of 0 is negative half of the time; fewer than 8 of 40 has probability 9e-5."""
    true = predict(NETS["linear"])
    errors = [compare(true, measure(NETS["linear"], draws=60, seed=seed)).error for seed in range(40)]
    assert 8 <= sum(error == 0 for error in errors) <= 32


def test_outputs_are_squared_before_they_are_summed():
    """Two outputs read a replicated cell through the same tap: the square of their sum would have 5/3 as much at the border."""
    net = Lattice.chain((1, 6), [Conv(1, 3, padding=1, mode="replicate")])
    truth = enumerated_squared_gradients(net)
    agreement = compare(truth, measure(net, draws=4000, initialisation=1.0), tolerance=0.12, confidence=1 - FALSE_ALARM)
    assert agreement.verdict is Verdict.AGREE, agreement


def test_few_draws_give_no_verdict():
    agreement = compare(predict(NETS["relu"]), measure(NETS["relu"], draws=20), tolerance=0.02)
    assert agreement.verdict is Verdict.NOT_ENOUGH_DATA
    assert agreement.resolution > 0.02
    assert "NOT ENOUGH DATA" in str(agreement)


def test_unreachable_pixels_must_have_no_gradient_at_all():
    net = Lattice.chain((1, 8), [Conv(1, 3, 3), Conv(1, 2)])  # cells 6 and 7 are never read
    estimate = measure(net, draws=200)
    land = predict(net)
    assert (land.squared[6:] == 0).all()
    assert (estimate.mean[6:] == 0).all()
    assert compare(land, estimate, tolerance=0.5).unreachable == 0
    wrong = land.squared.copy()
    wrong[0] = 0
    agreement = compare(wrong, estimate, tolerance=10.0)
    assert agreement.unreachable == 1
    assert agreement.verdict is Verdict.DISAGREE


def test_nan_never_passes():
    estimate = measure(NETS["linear"], draws=20)
    with pytest.raises(SpecificationError, match="predicted map has NaN"):
        compare(np.full(9, np.nan), estimate)
    with pytest.raises(SpecificationError, match=r"shape \(8,\), the measured one \(9,\)"):
        compare(np.ones(8), estimate)


def test_measuring_leaves_the_world_as_it_was():
    random, numpy_random = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    measure(factory, (2, 8, 8), draws=4)
    measure(NETS["relu"], draws=4)
    assert torch.equal(torch.get_rng_state(), random)
    assert (np.random.get_state()[1] == numpy_random).all()  # noqa: NPY002
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_an_interrupt_returns_the_draws_so_far():
    calls = []

    def interrupted():
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return factory()

    estimate = measure(interrupted, (2, 8, 8), draws=100, batched=False)
    whole = measure(factory, (2, 8, 8), draws=100, batched=False)
    assert estimate.interrupted
    assert estimate.draws == 17  # three networks were drawn beforehand, to look at
    assert (estimate.blocks == whole.blocks[:17]).all()


# --- train mode, images, modes and settings --------------------------------------------------------------------------------


def double():
    return factory().double()


def sampler(source, *, train=True, batch=3, inputs=None):
    return Sampler(
        ModuleSource(source, torch.device("cpu")),
        (2, 5, 5),
        0,
        inputs_per_draw=batch,
        inputs=inputs,
        device=torch.device("cpu"),
        train=train,
    )


def own_sample_blocks(index):
    """J_nn of draw `index`, from the full Jacobian of the batch, as (samples, outputs, inputs); and its cotangent."""
    draws = sampler(double)
    network, _ = draws.source.draw(draws._seeds(index)[0])
    x, v = draws._inputs(range(index, index + 1))[0], draws._cotangents(range(index, index + 1))[0]
    full = torch.autograd.functional.jacobian(network.train(), x).reshape(3, v[0].numel(), 3, x[0].numel())
    return torch.stack([full[n, :, n] for n in range(3)]), v.flatten(1), full


@pytest.mark.parametrize("batched", [False, True])
def test_in_train_mode_a_sample_is_differentiated_by_itself_alone(batched):
    draws = sampler(double)
    maps = draws.squares(range(3), batched)
    for index in range(3):
        own, v, full = own_sample_blocks(index)
        assert own.dtype == torch.double
        gradients = torch.einsum("nz,nzi->ni", v, own).reshape(3, 2, 5, 5)
        np.testing.assert_allclose(maps[index], gradients.square().mean(dim=(0, 1)) / v[0].numel(), rtol=1e-10)
        mixed = torch.einsum("mz,mzni->ni", v, full).reshape(3, 2, 5, 5).square().mean(dim=(0, 1)) / v[0].numel()
        assert not np.allclose(maps[index], mixed, rtol=0.05)  # negative control: one backward pass for the whole batch


def test_train_mode_averages_to_the_squares_of_the_diagonal_blocks():
    """Over all cotangents of one draw, the mean of g^2 is sum_j (dh_nj/dx_ni)^2: here over 4000 of them, to 6 sigma."""
    own, _, _ = own_sample_blocks(0)
    signs = torch.randint(0, 2, (4000, *own.shape[:2]), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    squares = torch.einsum("rnz,nzi->rni", signs, own).square()
    error = squares.std(dim=0) / 4000**0.5
    assert ((squares.mean(dim=0) - own.square().sum(dim=1)).abs() <= 6 * error + 1e-12).all()


def test_in_train_mode_draws_together_are_the_draws_one_by_one():
    alone = measure(factory, (2, 8, 8), draws=7, mode="train", inputs_per_draw=4, batched=False)
    together = measure(factory, (2, 8, 8), draws=7, mode="train", inputs_per_draw=4, batched=True, chunk=3)
    assert together.batched
    np.testing.assert_allclose(together.blocks, alone.blocks, rtol=1e-4)
    evaluated = measure(factory, (2, 8, 8), draws=7, inputs_per_draw=4, batched=False)
    assert not np.allclose(evaluated.mean, alone.mean, rtol=0.05)
    assert (alone.mode, evaluated.mode) == ("train", "eval")


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("batched", [False, True])
def test_the_users_modules_are_left_as_they_were(mode, batched):
    network = factory().train()
    network[2].eval()
    network[0].weight.requires_grad_(False)

    def again():
        torch.nn.init.normal_(network[0].weight)
        torch.nn.init.normal_(network[3].weight)
        return network

    measure(again, (2, 8, 8), draws=4, mode=mode, inputs_per_draw=2, batched=batched)
    assert [part.training for part in network] == [True, True, False, True]
    assert (network[1].running_mean == 0).all()
    assert (network[1].running_var == 1).all()
    assert network[1].num_batches_tracked == 0
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
    assert all(p.grad is None for p in network.parameters())


def test_images_are_taken_by_draw_index_without_repetition():
    images = np.random.default_rng(0).normal(size=(6, 2, 5, 5))
    draws = sampler(double, train=False, batch=4, inputs=images)
    for batch in draws._inputs(range(5)).numpy():
        taken = [int(np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0]) for image in batch]
        assert len(set(taken)) == 4
    assert not torch.equal(draws._inputs(range(1))[0], draws._inputs(range(1, 2))[0])
    assert torch.equal(draws._inputs(range(3))[2], draws._inputs(range(2, 3))[0])
    alone = measure(factory, (2, 5, 5), draws=5, inputs=torch.tensor(images), batched=False)
    together = measure(factory, (2, 5, 5), draws=5, inputs=images.astype(np.float32), batched=True)
    np.testing.assert_allclose(together.blocks, alone.blocks, rtol=1e-5)
    assert not np.allclose(alone.mean, measure(factory, (2, 5, 5), draws=5, batched=False).mean, rtol=1e-3)


def test_gates_follow_the_images():
    """h = relu(w x) on images of one sign: each pixel's gate is one or zero for the whole image, as the weight says."""

    def gated():
        return nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.ReLU())

    positive = np.abs(np.random.default_rng(0).normal(size=(9, 1, 4))) + 0.1
    estimate = measure(gated, (1, 4), draws=50, inputs=positive)
    for block in estimate.blocks:
        assert (block > 0).all() or (block == 0).all()
    noise = measure(gated, (1, 4), draws=50)
    assert any((block > 0).any() and (block == 0).any() for block in noise.blocks)


class InPlace(nn.Module):
    """Writes into a tensor that vmap holds unbatched."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        out = torch.zeros(x.shape[0], 3, x.shape[2] - 2, x.shape[3] - 2)
        out += self.conv(x)
        return out


class Hidden(nn.Module):
    """Carries randomness that is no parameter and no buffer, which one module cannot hold for all draws."""

    def __init__(self):
        super().__init__()
        self.conv, self.factor = nn.Conv2d(2, 3, 3), float(torch.rand(()))

    def forward(self, x):
        return self.conv(x) * self.factor


@pytest.mark.parametrize("model", [InPlace, Hidden])
def test_a_model_that_cannot_be_batched_is_looped_over_and_said_to_be(model):
    asked = measure(model, (2, 8, 8), draws=6, batched=True)
    looped = measure(model, (2, 8, 8), draws=6, batched=False)
    assert not asked.batched
    assert (asked.blocks == looped.blocks).all()
    assert measure(factory, (2, 8, 8), draws=6).batched


def test_dropout_in_train_mode_is_part_of_the_draw():
    def dropping():
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 3, 3))

    first = measure(dropping, (2, 8, 8), draws=6, mode="train")
    torch.rand(3)
    second = measure(dropping, (2, 8, 8), draws=6, mode="train")
    assert (first.blocks == second.blocks).all()
    assert not first.batched


def test_precision_settings_hold_within_and_are_restored():
    places, seen = _precisions(), []

    def watching():
        seen.append([getattr(place, name) for place, name, _ in places])
        return factory()

    usual = [getattr(place, name) for place, name, _ in places]
    try:
        for place, name, value in places:
            setattr(place, name, "tf32" if value == "ieee" else True)
        before = [getattr(place, name) for place, name, _ in places]
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            inside = measure(watching, (2, 8, 8), draws=3, batched=False)
        after = [getattr(place, name) for place, name, _ in places]
    finally:
        for (place, name, _), value in zip(places, usual, strict=True):
            setattr(place, name, value)
    assert all(value in ("ieee", False) for values in seen for value in values)
    assert before == after != usual
    assert (inside.blocks == measure(factory, (2, 8, 8), draws=3, batched=False).blocks).all()


def test_the_older_names_of_the_precision_still_hold_their_value():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        measure(factory, (2, 8, 8), draws=2)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_chunk_keeps_the_activations_within_the_budget():
    def wide():
        return nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(6)))

    draws = Sampler(
        ModuleSource(wide, torch.device("cpu")),
        (16, 128, 128),
        0,
        inputs_per_draw=1,
        inputs=None,
        device=torch.device("cpu"),
        train=False,
    )
    activations = 7 * 16 * 128 * 128 * 4
    assert activations <= draws.bytes_per_draw <= 4 * activations
    assert 1 <= draws.chunk() <= BUDGET // activations


# --- what an estimate says, and its file -------------------------------------------------------------------------------------


def test_effective_draws_are_kishs_of_the_energies():
    estimate = measure(factory, (2, 8, 8), draws=40)
    energies = estimate.blocks.reshape(40, -1).sum(axis=1)
    np.testing.assert_allclose(estimate.energies, energies)
    assert estimate.effective_draws == pytest.approx(energies.sum() ** 2 / (energies**2).sum())
    assert estimate.largest_share == pytest.approx(energies.max() / energies.sum())
    assert 1 / estimate.largest_share <= 40
    assert 1 < estimate.effective_draws < 40
    assert estimate.versions["torch"] == torch.__version__
    assert f"worth {estimate.effective_draws:.0f} equal draws" in str(estimate)


def test_a_saved_estimate_is_loaded_as_it_was(tmp_path):
    estimate = measure(factory, (2, 8, 8), draws=12, seed=5, mode="train", inputs_per_draw=2)
    found = Estimate.load(estimate.save(tmp_path / "estimate.npz"))
    for name in Estimate.__dataclass_fields__:
        assert np.array_equal(getattr(found, name), getattr(estimate, name)), name
    assert [path.name for path in tmp_path.iterdir()] == ["estimate.npz"]


def test_a_damaged_file_is_detected_wherever_the_damage_is(tmp_path):
    path = measure(factory, (2, 8, 8), draws=4).save(tmp_path / "estimate.npz")
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            found = Estimate.load(path)
        except SpecificationError as error:
            assert "estimate.npz" in str(error)  # noqa: PT017
        else:  # bytes that carry no content: dates and the like
            assert found.draws == 4
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(SpecificationError, match="damaged"):
            Estimate.load(path)
    with pytest.raises(SpecificationError, match="there is no file"):
        Estimate.load(tmp_path / "other.npz")


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "estimate.npz"
    np.savez(path, header=np.array([{"a": 1}], dtype=object), mean=np.ones(2))
    with pytest.raises(SpecificationError, match="damaged or was not written by this project"):
        Estimate.load(path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_gpu_takes_the_same_draws(mode):
    here = measure(factory, (2, 8, 8), draws=20, mode=mode, inputs_per_draw=2, device="cpu")
    there = measure(factory, (2, 8, 8), draws=20, mode=mode, inputs_per_draw=2, device="cuda")
    np.testing.assert_allclose(there.blocks, here.blocks, rtol=1e-3)
    assert there.device == torch.cuda.get_device_name()


constant = factory()


class TwoOutputs(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"factory": lambda: constant}, AssumptionError, "same weights twice"),
        ({"factory": lambda: 3}, SpecificationError, "returned a int"),
        ({"factory": TwoOutputs}, UnsupportedError, "returns tuple"),
        ({"draws": 1}, SpecificationError, "two draws at least"),
        ({"shape": None}, SpecificationError, "needs the shape"),
        ({"mode": "test"}, SpecificationError, "'eval' or 'train'"),
        ({"mode": "train"}, SpecificationError, "layer '1' normalises by the statistics of the batch"),
        ({"inputs": np.zeros((5, 3, 8, 8))}, SpecificationError, r"the network reads \(N, 2, 8, 8\)"),
        ({"inputs": np.zeros((5, 2, 8, 8)), "inputs_per_draw": 6}, SpecificationError, "a draw takes inputs_per_draw = 6"),
        ({"inputs": np.zeros((5, 2, 8, 8), dtype=np.uint8)}, SpecificationError, "inputs hold uint8"),
        ({"inputs": np.full((5, 2, 8, 8), np.nan)}, SpecificationError, "NaN"),
        ({"factory": NETS["linear"]}, SpecificationError, r"the lattice has input shape \(1, 9\)"),
    ],
)
def test_bad_requests_are_refused(arguments, error, message):
    request = {"factory": factory, "shape": (2, 8, 8), "draws": 4, **arguments}
    with pytest.raises(error, match=message):
        measure(request.pop("factory"), request.pop("shape"), **request)


@pytest.mark.parametrize("interrupted", [False, True])
def test_threads_change_no_bit_and_are_given_back(interrupted, monkeypatch):
    net = Lattice.chain((2, 8, 8), [Conv(4, 3, padding=1), Activation("relu"), Conv(2, 3, padding=1)])
    alone = measure(net, draws=100, chunk=8, seed=5)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        if interrupted:
            squares, calls = Sampler.squares, []

            def interrupt(self, *arguments, **named):
                calls.append(self)
                if len(calls) > 8:  # two of them are the trial of whether draws run together
                    raise KeyboardInterrupt
                return squares(self, *arguments, **named)

            monkeypatch.setattr(Sampler, "squares", interrupt)
            partial = measure(net, draws=100, chunk=8, seed=5)
            assert partial.interrupted
            assert 0 < partial.draws < 100
            assert partial.draws % 8 == 0
            assert len(set(map(id, calls))) == 3  # each thread has a sampler of its own
        else:
            together = measure(net, draws=100, chunk=8, seed=5)
            assert (together.mean == alone.mean).all()
            assert (together.standard_error == alone.standard_error).all()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

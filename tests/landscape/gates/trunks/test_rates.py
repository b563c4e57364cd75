"""The rates of the trunks of whole networks, and what finding them leaves behind."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from landscape import predict
from landscape.gates.gate_rates import theory_gates
from landscape.gates.trunks import rates
from landscape.prior import Prior
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Norm, residual

RELU = Activation("relu")


def net(channels, size):
    blocks = [part for _ in range(3) for part in (residual([Conv(channels, 3, padding=1), Norm("batch")]), RELU)]
    return Lattice.chain((2, size, size), [Conv(channels, 3, padding=1), RELU, *blocks, GlobalPool("avg"), Flatten(), Dense(3)])


def seen(lattice, spread):
    """Weights as `he` has them, and norms with factors and shifts of their own in every channel."""
    rng = np.random.default_rng(5)
    convs = {node.name: 2 / 9 / node.op.channels for node in lattice.nodes if isinstance(node.op, Conv)}
    norms = [
        (node.name, shape[0]) for node, shape in zip(lattice.nodes, lattice.shapes, strict=True) if isinstance(node.op, Norm)
    ]
    factors = {name: np.exp(spread * rng.normal(size=channels)) for name, channels in norms}
    shifts = {name: (spread * rng.normal(size=channels), 0.0) for name, channels in norms}
    return Prior(lattice, {**convs, "dense1": 0.1}, factors, shifts=shifts, shifted=frozenset(factors))


def threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_products_run_in_one_thread_and_in_as_many_as_before_afterwards(monkeypatch):
    inside, run_rates = [], rates.run_rates
    monkeypatch.setattr(rates, "run_rates", lambda *args, **options: (inside.extend(threads()), run_rates(*args, **options))[1])
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        theory_gates(seen(net(8, 6), 0.2))
        assert threads() == before
    assert set(inside) <= {1}


@pytest.mark.parametrize("spread", [0.1, 0.4])
def test_channels_and_positions_that_are_left_out_are_met_to_a_thousandth(spread, monkeypatch):
    """Runs of gates from few cases and positions, against every one of them."""
    prior = seen(net(160, 12), spread)
    found = theory_gates(prior)
    monkeypatch.setattr("landscape.gates.trunks.few_cases.WORTH", 10**9)
    monkeypatch.setattr("landscape.gates.trunks.few_positions.SAMPLED", 10**9)
    exact = theory_gates(prior)
    assert set(found.runs) == set(exact.runs)
    assert len(found.runs) == 6
    for run, rate in exact.runs.items():
        assert rate.shape == (1, 12, 12)
        np.testing.assert_allclose(found.runs[run], rate, rtol=3e-4)
    for gate, rate in exact.gains.items():
        np.testing.assert_allclose(np.mean(found.gains[gate], axis=0), np.mean(rate, axis=0), rtol=3e-4)
        np.testing.assert_allclose(found.gains[gate], rate, atol=5e-3)
        np.testing.assert_allclose(found.firsts[gate], exact.firsts[gate], atol=5e-3)


def test_a_resnet_50_that_has_seen_images_has_the_map_of_all_its_cases(monkeypatch):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.resnet50(weights=None)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 64))
    few = predict(model.eval(), (3, 224, 224), check=False).squared
    monkeypatch.setattr("landscape.gates.trunks.few_cases.WORTH", 10**9)
    monkeypatch.setattr("landscape.gates.trunks.few_positions.NEAR", 1e-8)
    monkeypatch.setattr("landscape.gates.trunks.few_positions.CLOSE", 1e-7)
    np.testing.assert_allclose(few, predict(model, (3, 224, 224), check=False).squared, rtol=2e-4)

"""Gates along a trunk: units that stay open through many small branches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict, squared_gradients, trace
from landscape.covariance import sweep_moments
from landscape.gates import Gates, skips
from landscape.moments import Rules
from landscape.trunk import trunk_factors
from lattice import Activation, Conv, Dense, Flatten, Lattice, residual
from validation import compare, measure


class Trunk(nn.Module):
    """Post-activation blocks whose branches are small beside their skips."""

    def __init__(self, blocks=8, width=24, size=0.3):
        super().__init__()
        self.stem = nn.Conv1d(3, width, 3, padding=1, bias=False)
        self.branches = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1, bias=False) for _ in range(blocks))
        self.head = nn.Linear(width * 10, 6, bias=False)
        nn.init.normal_(self.stem.weight, std=(2 / 9) ** 0.5)
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=size * (2 / (3 * width)) ** 0.5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for branch in self.branches:
            x = torch.relu(x + branch(x))
        return self.head(x.flatten(1))


def test_the_scale_of_a_trunk_needs_the_whole_runs_of_its_gates():
    estimate = measure(Trunk, (3, 10), draws=2000)
    land = predict(Trunk, (3, 10))
    agreement = compare(land, estimate)
    assert abs(agreement.scale_ratio - 1) < 0.08
    assert agreement.error < 0.03
    # with neighbouring gates alone, a Markov chain, the paths down the trunk are too few
    traced = land.traced
    neighbours = {key: run for key, run in traced.gates.runs.items() if (key[0], key[1]) in _links(traced.lattice)}
    assert len(neighbours) == 8 < len(traced.gates.runs) == 36
    chain = squared_gradients(
        traced.lattice, traced.variances, traced.factors, traced.shifted, gates=replace(traced.gates, runs=neighbours)
    )
    assert estimate.mean.mean() / chain.mean() > 1.25


def _links(lattice):
    return {(lower, upper) for _, _, lower, upper in skips(lattice)}


def test_the_factors_of_a_run_are_those_of_its_paths_counted_one_by_one():
    """One unit, one cell: every path is a subset of branches, weighed by the runs of gates between them."""
    blocks, branch = 3, 0.5
    rng = np.random.default_rng(0)
    relu = Activation("relu")
    layers = [Conv(1, 1), relu, *(part for _ in range(blocks) for part in (residual([Conv(1, 1)]), relu)), Flatten(), Dense(1)]
    net = Lattice.chain((1, 1), layers)
    gates = [name for name in net.names if name.startswith("activation")]
    runs, gains = {}, {}
    for low in range(blocks + 1):
        shares = np.cumprod(rng.uniform(0.6, 0.95, blocks + 1 - low))
        gains[gates[low]] = float(shares[0])
        runs |= {(gates[low], gates[high]): np.full((1, 1), shares[high - low]) for high in range(low + 1, blocks + 1)}

    variances = {name: branch if name in net.names[3:-2] else 1.0 for name in net.names if name.startswith(("conv", "dense"))}
    rules = Rules(net, variances, {}, (), Gates(gains, runs=runs))

    def sweep(edges):
        rules.edges = edges
        return sweep_moments(net, rules, np.ones((1,)))

    rules.edges = trunk_factors(net, runs, gains, sweep)
    found = {node.name: values for node, values in sweep_moments(net, rules, np.ones((1,)))}["input"]

    def rate(low, high):
        return gains[gates[low]] if low == high else float(runs[gates[low], gates[high]].mean())

    def paths(top):
        """All paths from the output of gate `top` down: the run that begins there ends at some branch, or at the stem."""
        total = rate(0, top)
        for end in range(1, top + 1):  # leaves the trunk through the branch below gate `end`
            total += rate(end, top) * branch * paths(end - 1)
        return total

    assert float(found.mean()) == pytest.approx(paths(blocks), rel=1e-5)


def test_counted_runs_hold_every_stretch_of_a_trunk():
    torch.manual_seed(0)
    traced = trace(Trunk(blocks=2), (3, 10), inputs="noise")
    lowest, middle, top = (name for name in traced.lattice.names if "relu" in name)
    assert set(traced.gates.runs) == {(lowest, middle), (middle, top), (lowest, top)}
    assert (traced.gates.runs[lowest, top] < traced.gates.runs[lowest, middle]).all()

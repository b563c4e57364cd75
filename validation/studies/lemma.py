r"""How far off Lemma 1 is: its ratios on linear, ReLU and trained nets, over the width and correlation of the inputs.

The lemma asks for f to be linear between x and the value that replaces x_i. A linear net is; a ReLU net is where the
spread of x_i is small against the distance of the kinks. So the inputs here are a fixed centre plus noise of a chosen
standard deviation, and the kinks lie at distances of order one from the centre. Correlated inputs add a second failure:
a shuffled x_i beside the old x_j is an input that the data never show, where a ReLU net has other gates.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lattice import SpecificationError
from validation.studies.shuffle import MEASURES, shuffled_importance
from validation.studies.table import Series, Table, provenance

__all__ = ["correlated_inputs", "lemma_net", "lemma_table", "train_briefly"]

LENGTH = 8
TITLES = {"shuffled": "shuffled", "expectation_replaced": "Eq. 4", "mean_replaced": "Eq. 7"}


def correlated_inputs(samples: int, deviation: float, correlation: float, generator: torch.Generator) -> torch.Tensor:
    """A fixed centre plus Gaussian noise of this standard deviation, every two entries correlated alike: (samples, 1, 8).

    Parameters
    ----------
    samples : int
        How many inputs.
    deviation : float
        Standard deviation of each entry.
    correlation : float
        Of every two entries, from 0 to 1.
    generator : torch.Generator
        Where the random numbers come from; torch's global state is not touched.

    Returns
    -------
    torch.Tensor
        (samples, 1, 8), float64.
    """
    common = torch.randn(samples, 1, 1, generator=generator, dtype=torch.float64)
    own = torch.randn(samples, 1, LENGTH, generator=generator, dtype=torch.float64)
    centre = torch.linspace(-1, 1, LENGTH, dtype=torch.float64)
    return centre + deviation * (correlation**0.5 * common + (1 - correlation) ** 0.5 * own)


def lemma_net(activation: bool, generator: torch.Generator, width: int = 16, outputs: int = 4) -> nn.Sequential:
    """Two convolutions and a dense layer over (1, 8), he-initialised, with biases of variance one: kinks off the centre.

    Parameters
    ----------
    activation : bool
        The nonlinearity between the layers.
    generator : torch.Generator
        Where the random numbers come from; torch's global state is not touched.
    width : int
        Channels.
    outputs : int
        Classes.

    Returns
    -------
    nn.Sequential
        In float64.
    """
    gates = [nn.ReLU() if activation else nn.Identity() for _ in range(2)]
    with torch.device("meta"):
        net = nn.Sequential(
            nn.Conv1d(1, width, 3, padding=1), gates[0], nn.Conv1d(width, width, 3, padding=1), gates[1], nn.Flatten(),
            nn.Linear(width * LENGTH, outputs),
        )  # fmt: skip
    net = net.to_empty(device="cpu").double()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            fan_in = parameter[0].numel()
            parameter.normal_(0.0, 1.0 if name.endswith("bias") else (2 / fan_in) ** 0.5, generator=generator)
    return net


def train_briefly(net: nn.Sequential, inputs: torch.Tensor, steps: int = 300, rate: float = 3e-3) -> float:
    """Adam, all samples at once, on four classes: the signs of entries 2 and 5 less their means.

    Parameters
    ----------
    net : nn.Sequential
        Is trained in place.
    inputs : torch.Tensor
        (samples, 1, 8).
    steps : int
        Updates.
    rate : float
        Of Adam.

    Returns
    -------
    float
        The share of right answers at the end.
    """
    signs = (inputs[:, 0] > inputs[:, 0].mean(dim=0)).long()
    labels = 2 * signs[:, 2] + signs[:, 5]
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            optimiser.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(net(inputs), labels))
            optimiser.step()
    with torch.no_grad():
        return float((net(inputs).argmax(dim=1) == labels).double().mean())


def lemma_table(
    deviations: Sequence[float] = (0.1, 0.3, 1.0, 3.0),
    correlations: Sequence[float] = (0.0, 0.9),
    *,
    samples: int = 1000,
    replacements: int = 8,
    seed: int = 0,
) -> Table:
    """Each measure / V[x] E[(df/dx)^2], summed over the inputs, on three nets, by the inputs' deviation and correlation.

    The lemma holds where the shuffle's ratio is 2 and those of Eq. 4 and 7 are 1; `map error` is the relative rms
    difference of the shuffle's map over the inputs from the squared gradient's. The trained net is trained at deviation 1
    on each correlation, and then looked at over all deviations.

    Parameters
    ----------
    deviations : sequence of float
        Of the inputs.
    correlations : sequence of float
        Of the inputs.
    samples : int
        Inputs of each kind.
    replacements : int
        Shuffles of each unit.
    seed : int
        Of all that is drawn.

    Returns
    -------
    Table
        A row for each network, deviation and correlation.
    """
    if (
        samples < 10
        or not deviations
        or not correlations
        or min(deviations) <= 0
        or not 0 <= min(correlations) <= max(correlations) < 1
    ):
        raise SpecificationError(
            f"deviations {tuple(deviations)}, correlations {tuple(correlations)}, samples {samples}: deviations are positive, "
            "correlations lie in [0, 1), and 10 samples are the least"
        )
    rows: list[tuple[Any, ...]] = []
    series, notes = [], []
    for kind in ("linear", "relu", "trained relu"):
        for correlation in correlations:
            generator = torch.Generator().manual_seed(seed)
            net = lemma_net(kind != "linear", generator)
            if kind == "trained relu":
                accuracy = train_briefly(net, correlated_inputs(samples, 1.0, correlation, generator))
                notes.append(f"training at correlation {correlation:g} reached an accuracy of {accuracy:.1%} on its samples")
            start = len(rows)
            for deviation in deviations:
                inputs = correlated_inputs(samples, deviation, correlation, generator)
                found = shuffled_importance(net, inputs, generator=generator, replacements=replacements)
                ratios = [value for name in MEASURES[:-1] for value in found.ratios[name]]
                rows.append((kind, deviation, correlation, *ratios, found.map_error("shuffled")))
            ratio, error = ([row[i] for row in rows[start:]] for i in (3, 4))
            low, high = (tuple(r + sign * e for r, e in zip(ratio, error, strict=True)) for sign in (-1, 1))
            series.append(Series(f"{kind}, correlation {correlation:g}", tuple(deviations), tuple(ratio), low, high))
    columns = ("net", "deviation", "correlation")
    measures = tuple(text for name in MEASURES[:-1] for text in (f"{TITLES[name]} / gradient", f"{TITLES[name]} error"))
    return Table(
        title="Lemma 1: shuffled-input importance / squared gradient",
        columns=(*columns, *measures, "map error"),
        rows=tuple(rows),
        origin=provenance(seed, samples, "cpu"),
        series=(*series, Series("the lemma, with its factor 2", tuple(deviations), (2.0,) * len(deviations), line=True)),
        notes=(*notes, f"{samples} samples, {replacements} replacements each; errors are standard"),
        axes=("standard deviation of each input", "shuffled / (V[x] E[(df/dx)^2])"),
        logarithmic="x",
    )

r"""Lemma 1: is the squared gradient a proxy of shuffled-input importance? Both sides, measured on the same samples.

Four measures of how much input unit i matters to f, E over the samples x of a data set and the outputs j:

    shuffled             E[(f(x with x_i := x'_i) - f(x))^2],   x' another sample      Breiman (2001)
    expectation replaced E[(E_{x'_i} f(x with x'_i) - f(x))^2]                         Eq. 4
    mean replaced        E[(f(x with xbar_i) - f(x))^2]                                Eq. 7
    squared gradient     V[x_i] E[(df/dx_i)^2]                                         the lemma's last line

The factor 2. Let x_i be independent of the other inputs, and write V for the variance over x_i with the others held
fixed. Two independent draws of x_i differ by E[(f(x'_i) - f(x_i))^2] = 2 V[f], one draw and its mean by V[f]: so the
shuffle is exactly TWICE Eq. 4, for every f, linear or not. The lemma's proof replaces by the mean, and its title
speaks of the shuffle; as a ranking of the inputs the two are one. For linear f all four agree exactly (the shuffle with
its 2), and there independence is not needed: f's other inputs cancel in every difference.

The data set is the population: x'_i is any of its M samples alike, itself included, so V[x_i] has the divisor M.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError, UnsupportedError
from lattice.checks import is_whole
from lattice.results.values import MapResult
from validation.runtime.preserve_state import call_model, device_of, gradient, preserve_state

__all__ = ["MEASURES", "ShuffledImportance", "shuffled_importance"]

MEASURES = ("shuffled", "expectation_replaced", "mean_replaced", "squared_gradient")
HELD = 1 << 20  # (sample, unit) pairs whose values are held at once

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ShuffledImportance(MapResult):
    """The four measures of Lemma 1 as float64 maps, their standard errors, and the ratios of their totals.

    Maps are (channels, *positions) where a unit is one entry, (*positions) where it is all channels of a position. The errors
    are those of drawing the samples afresh: a sample acts both as receiver and as donor of x_i, and both roles are counted (an
    error from the receivers alone would be half of the right one). The noise of few random donors appears in both roles too, so
    they err on the safe side: for Eq. 4 by a factor of 1.4 at 4 replacements. `mean_replaced` holds xbar fixed.

    Parameters
    ----------
    shuffled : ndarray of float64
        Mean squared effect of a shuffle.
    expectation_replaced : ndarray of float64
        Eq. 4: squared effect of taking the expectation over replacements.
    mean_replaced : ndarray of float64
        Eq. 7: squared effect of replacing by the mean.
    squared_gradient : ndarray of float64
        V[x_i] E[(df/dx_i)^2].
    errors : dict of str to ndarray
        Standard error of each map, by name.
    ratios : dict of str to tuple of float
        (sum of the measure / sum of `squared_gradient`, its standard error), by name.
    samples : int
        Number of samples M.
    replacements : int
        Donors per sample.
    """

    shuffled: Array
    expectation_replaced: Array
    mean_replaced: Array
    squared_gradient: Array
    errors: dict[str, Array]
    ratios: dict[str, tuple[float, float]]
    samples: int
    replacements: int
    _map_names = MEASURES

    def map_error(self, measure: str) -> float:
        """Relative rms difference of two maps of mean one: the measure's and the squared gradient's.

        Parameters
        ----------
        measure : str
            Name of the measure: "shuffled", "expectation_replaced" or "mean_replaced".

        Returns
        -------
        float
            The difference.
        """
        first, second = getattr(self, measure), self.squared_gradient
        return float(np.sqrt(np.mean(np.square(first / first.mean() - second / second.mean()))))

    def __str__(self) -> str:
        lines = [f"Lemma 1 over {self.samples} samples, {self.replacements} replacements each"]
        for name in MEASURES[:-1]:
            ratio, error = self.ratios[name]
            lines.append(f"  {name.replace('_', ' ')} / squared gradient = {ratio:.3g} +- {error:.2g}")
        return "\n".join(lines)


def shuffled_importance(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    *,
    generator: torch.Generator,
    replacements: int | None = 4,
    unit: str = "entry",
    chunk: int = 1024,
) -> ShuffledImportance:
    """Shuffled, Eq. 4, Eq. 7 and V[x_i] E[(df/dx_i)^2] of every input unit over samples: the measures of Lemma 1.

    Differences of f are taken in the model's own precision, so that effects below 1e-6 of f want a float64 model.

    Parameters
    ----------
    model : torch.nn.Module
        Any module from a batch to one tensor (M, ...); f is the mean over its outputs, in evaluation mode.
    inputs : torch.Tensor
        Samples (M, channels, *spatial), floating point and finite, two at least.
    generator : torch.Generator
        Where permutations are drawn from.
    replacements : int or None, default 4
        Random permutations of each unit over the samples, two at least (Eq. 4 is estimated without bias from products of two);
        None is every sample in turn, without any noise of donors.
    unit : {"entry", "position"}, default "entry"
        "entry" shuffles one channel of one position, "position" all channels together, with (df/dx)' Cov[x] (df/dx) as the
        squared gradient.
    chunk : int, default 1024
        Inputs that the model gets at once, at most.

    Returns
    -------
    ShuffledImportance
        The four maps, their standard errors, and the ratios of their totals.

    Raises
    ------
    SpecificationError
        If there are fewer than two samples, a single replacement, or no input changes the outputs.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 1)).double()
    >>> x = torch.randn(20, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    >>> result = shuffled_importance(
    ...     model, x, generator=torch.Generator(), replacements=None
    ... )
    >>> {name: round(ratio, 12) for name, (ratio, _) in result.ratios.items()}
    {'shuffled': 2.0, 'expectation_replaced': 1.0, 'mean_replaced': 1.0}
    """
    samples = len(inputs) if isinstance(inputs, torch.Tensor) and inputs.ndim > 1 else 0
    if samples < 2 or not inputs.is_floating_point() or not bool(torch.isfinite(inputs).all()):
        raise SpecificationError(
            f"inputs is {_described(inputs)}; a shuffle needs a finite floating-point batch (samples, channels, *spatial) "
            "of two samples at least"
        )
    if unit not in ("entry", "position"):
        raise SpecificationError(f"unit is {unit!r}; it is 'entry' (one channel of a position) or 'position' (all of them)")
    if not isinstance(generator, torch.Generator):
        raise SpecificationError(f"generator is {generator!r}; it is torch.Generator().manual_seed(0), for example")
    if not is_whole(chunk) or chunk < 1 or (replacements is not None and (not is_whole(replacements) or replacements < 2)):
        raise SpecificationError(
            f"replacements is {replacements}, chunk {chunk}; Eq. 4 needs two replacements at least, or None for every sample"
        )
    maps: dict[str, list[Array]] = {name: [] for name in MEASURES}
    errors: dict[str, list[Array]] = {name: [] for name in MEASURES}
    totals = dict.fromkeys(MEASURES, np.zeros(samples))
    with preserve_state(model):
        study = _Study(model, inputs.detach().to(device_of(model)), replacements, unit, chunk, generator)
        for values in study.blocks():
            for name, (mean, influence) in values.items():
                maps[name].append(mean)
                errors[name].append(np.sqrt(np.square(influence).sum(axis=0) / (samples * (samples - 1))))
                totals[name] = totals[name] + influence.sum(axis=1)
    shape = tuple(inputs.shape[1:]) if unit == "entry" else tuple(inputs.shape[2:])
    whole = {name: np.concatenate(parts).reshape(shape) for name, parts in maps.items()}
    scale = whole["squared_gradient"].sum()
    if not scale > 0:
        raise SpecificationError("no input changes the model's outputs over these samples: no gradient, or no variance")
    ratios = {}
    for name in MEASURES[:-1]:
        ratio = float(whole[name].sum() / scale)
        spread = (totals[name] - ratio * totals["squared_gradient"]) / scale
        ratios[name] = (ratio, float(np.sqrt(np.square(spread).sum() / (samples * (samples - 1)))))
    sizes = {name: np.concatenate(parts).reshape(shape) for name, parts in errors.items()}
    return ShuffledImportance(**whole, errors=sizes, ratios=ratios, samples=samples, replacements=replacements or samples)


def _described(inputs: Any) -> str:
    if isinstance(inputs, torch.Tensor):
        return f"a {inputs.dtype} tensor of shape {tuple(inputs.shape)}"
    return f"a {type(inputs).__name__}"


class _Study:
    """The samples as (samples, units, width), and the values of each block of units: mean and influence per sample."""

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        replacements: int | None,
        unit: str,
        chunk: int,
        generator: torch.Generator,
    ) -> None:
        self.model, self.shape, self.chunk, self.exhaustive = model, inputs.shape[1:], chunk, replacements is None
        # a unit is `width` entries that are replaced together; units are the second axis
        self.position = unit == "position"
        self.x = self._units(inputs)
        count, place = len(inputs), torch.arange(len(inputs))
        if replacements is None:
            donors = torch.stack([(place + shift) % count for shift in range(count)])
        else:
            donors = torch.stack([torch.randperm(count, generator=generator) for _ in range(replacements)])
        self.donors = donors.to(inputs.device)  # (replacements, samples)
        self.mean = self.x.double().mean(dim=0)
        self.deviation = self.x.double() - self.mean
        self.covariance = torch.einsum("muv,muw->uvw", self.deviation, self.deviation) / count
        with torch.no_grad():
            self.base = torch.cat([self._outputs(self.x[s]) for s in self._slices(count, chunk)])

    def _units(self, tensor: torch.Tensor) -> torch.Tensor:
        flat = tensor.flatten(2) if tensor.ndim > 2 else tensor[:, :, None]
        return flat.transpose(1, 2) if self.position else flat.flatten(1)[:, :, None]

    def _outputs(self, x: torch.Tensor) -> torch.Tensor:
        entries = x.transpose(1, 2) if self.position else x
        result = call_model(self.model, entries.reshape(len(x), *self.shape))
        if not isinstance(result, torch.Tensor) or result.shape[:1] != (len(x),):
            raise UnsupportedError(f"the model returns {type(result).__name__}; wrap it so that it returns one tensor (N, ...)")
        return result.reshape(len(x), -1)

    @staticmethod
    def _slices(total: int, size: int) -> Iterator[slice]:
        return (slice(start, min(start + size, total)) for start in range(0, total, size))

    def blocks(self) -> Iterator[dict[str, tuple[Array, Array]]]:
        """Of each measure, means (units of the block) and influences (samples, units), block after block of units."""
        samples, units = self.x.shape[:2]
        quadratic, second = self._gradients()
        for block in self._slices(units, max(1, HELD // samples)):
            values = self._replaced(block)
            # V[x] moves with the samples as well as E[g^2] does
            moved = torch.einsum("muv,uvw,muw->mu", *(self.deviation[:, block], second[block], self.deviation[:, block]))
            mean = quadratic[:, block].mean(dim=0)
            values["squared_gradient"] = (mean, quadratic[:, block] + moved - 2 * mean)
            yield {name: (np.asarray(m.cpu()), np.asarray(i.cpu())) for name, (m, i) in values.items()}

    def _gradients(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(1/J) sum_j g_j' Cov[x] g_j per sample and unit, and E[g g'] per unit; one backward pass per output j."""
        rows, second = [], torch.zeros_like(self.covariance)
        for part in self._slices(len(self.x), self.chunk):
            with torch.enable_grad():
                x = self.x[part].clone().requires_grad_()
                outputs = self._outputs(x)
                row = torch.zeros(x.shape[:2], dtype=torch.float64, device=x.device)
                for j in range(outputs.shape[1]):
                    g = gradient(outputs[:, j].sum(), x, retain_graph=j + 1 < outputs.shape[1]).double()
                    row += torch.einsum("muv,uvw,muw->mu", g, self.covariance, g) / outputs.shape[1]
                    second += torch.einsum("muv,muw->uvw", g, g) / (outputs.shape[1] * len(self.x))
            rows.append(row)
        return torch.cat(rows), second

    @torch.no_grad()
    def _replaced(self, block: slice) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        samples, units = len(self.x), block.stop - block.start
        count = len(self.donors)
        own, donor, pair, pair_donor, centred = (
            torch.zeros(samples * units, dtype=torch.float64, device=self.x.device) for _ in range(5)
        )
        for part in self._slices(samples * units, max(1, self.chunk // (count + 1))):
            index = torch.arange(part.start, part.stop, device=self.x.device)
            sample, unit = index // units, index % units
            from_data = self.x[self.donors[:, sample], block.start + unit]  # (replacements, pairs, width)
            values = torch.cat([from_data, self.mean[None, block.start + unit].to(self.x.dtype)])
            x = self.x[sample].repeat(count + 1, 1, 1)
            x[torch.arange(len(x), device=x.device), (block.start + unit).repeat(count + 1)] = values.flatten(0, 1)
            changed = torch.cat([self._outputs(x[rows]) for rows in self._slices(len(x), max(self.chunk, len(index)))])
            d = (changed.double() - self.base[sample].double().repeat(count + 1, 1)).reshape(count + 1, len(index), -1)
            d, centred[part] = d[:-1], d[-1].square().mean(dim=-1)
            total = d.sum(dim=0)
            # the mean of the other replacements: of all, where these are the whole population
            others = total.expand_as(d) / count if self.exhaustive else (total - d) / (count - 1)
            products, squares = (d * others).mean(dim=-1), d.square().mean(dim=-1)
            own[part], pair[part] = squares.mean(dim=0), products.mean(dim=0)
            place = (self.donors[:, sample] * units + unit).flatten()
            donor.index_add_(0, place, squares.flatten() / count)
            pair_donor.index_add_(0, place, products.flatten() / count)
        own, donor, pair, pair_donor, centred = (t.reshape(samples, units) for t in (own, donor, pair, pair_donor, centred))
        shuffled, expectation, mean = own.mean(dim=0), pair.mean(dim=0), centred.mean(dim=0)
        return {
            "shuffled": (shuffled, own + donor - 2 * shuffled),
            "expectation_replaced": (expectation, pair + 2 * pair_donor - 3 * expectation),
            "mean_replaced": (mean, centred - mean),
        }

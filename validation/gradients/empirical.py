r"""The importance landscape of a trained network over a data set: the paper's Figures 2 to 4, with standard errors.

    I_i(f)^2 = (1/M) sum_m sum_y p(y|X_m) (dh_y/dx_{i,m})^2,     p = softmax(h), h the logits, evaluation mode,

(unnumbered before Eq. 14), or with one y ~ p(y|X_m) per image in the place of the sum over y (Section 3.3.3), which has
the same expectation. From it two maps, which are different quantities (I' is not linear in I^2):

    map_of_means     I'(I^2), Eq. 14 of the mean over images of the squares: what theory speaks of
    mean_of_maps     (1/M) sum_m I'(I^2_m), the mean over images of each image's own Eq. 14

Images are summed in blocks, in float64; all standard errors, also of maps and of the total variation, come from leaving
out one block at a time (the jackknife for blocks of unequal size of Busing, Meijer and van der Leeden, 1999).
"""

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from landscape.maps.numbers import total_variation
from landscape.progress import progress_bar
from lattice import SpecificationError, UnsupportedError
from lattice.results.values import MapResult
from validation.gradients.jackknife import Blocks, jackknife
from validation.runtime.preserve_state import call_model, device_of, gradient, preserve_state

__all__ = ["EmpiricalLandscape", "channel_importance", "empirical_landscape"]

Array = np.ndarray[Any, Any]


def channel_importance(squared: Array) -> Array:
    """I'_i = sqrt(d_w d_h) ||I_i^2||_channels / ||I^2||_F (Eq. 14) of squares (channels, *positions); mean square one.

    Parameters
    ----------
    squared : numpy.ndarray
        Squares (channels, *positions), not negative.

    Returns
    -------
    numpy.ndarray
        I' (positions), float64.

    Examples
    --------
    >>> channel_importance(np.array([[3.0, 0.0], [4.0, 5.0]]))
    array([1., 1.])
    """
    norm = np.sqrt(np.square(squared).sum(axis=0))
    size = np.sqrt(np.square(norm).mean())
    if not size > 0:
        raise SpecificationError("this map is zero or NaN everywhere: the logits do not depend on the input")
    return np.asarray(norm / size)


@dataclass(frozen=True, eq=False)
class EmpiricalLandscape(MapResult):
    """A measured landscape over a data set: squared input gradients of the logits of a trained (or any) network.

    Parameters
    ----------
    sums : ndarray of float64, shape (blocks, channels, *positions)
        Sums of (dh_y/dx_i)^2 over each block's images.
    maps : ndarray of float64, shape (blocks, *positions)
        Sums of each image's Eq. 14.
    images : ndarray of int, shape (blocks,)
        Images of each block.
    flat : ndarray of int, shape (blocks,)
        Images without any gradient, whose own Eq. 14 is undefined; they count in the means of squares and not in
        `mean_of_maps`.
    classes : {"sampled", "all"}
        How the class y was taken.
    """

    sums: Array
    maps: Array
    images: Array
    flat: Array
    classes: str
    _map_names = ("squared", "squared_error", "map_of_means", "map_of_means_error")

    def _facts(self) -> dict[str, Any]:
        value, error, unbiased = self.total_variation()
        facts = {"count": self.count, "flat": int(self.flat.sum()), "classes": self.classes, "total_variation": value}
        return facts | {"total_variation_error": error, "total_variation_unbiased": unbiased}

    @property
    def count(self) -> int:
        """M, the number of images."""
        return int(self.images.sum())

    @property
    def channel_squared(self) -> Array:
        """I(f)^2: float64 (channels, *positions)."""
        return np.asarray(self.sums.sum(axis=0) / self.count)

    @property
    def squared(self) -> Array:
        """I(f)^2 averaged over the input channels: what `landscape.predict(...).squared` predicts at initialisation."""
        return np.asarray(self.channel_squared.mean(axis=0))

    @property
    def squared_error(self) -> Array:
        """Standard error of `squared`."""
        return jackknife(lambda mean: mean.mean(axis=0), self.sums, self.images)[2]

    @property
    def map_of_means(self) -> Array:
        """Eq. 14 of the mean over images: mean square one."""
        return channel_importance(self.channel_squared)

    @property
    def map_of_means_error(self) -> Array:
        """Standard error of `map_of_means`, its normalisation included."""
        return jackknife(channel_importance, self.sums, self.images)[2]

    @property
    def mean_of_maps(self) -> Array:
        """The mean over images of each image's Eq. 14: its mean square is at most one."""
        return np.asarray(self.maps.sum(axis=0) / (self.images - self.flat).sum())

    @property
    def mean_of_maps_error(self) -> Array:
        """Standard error of `mean_of_maps`."""
        kept = self.images > self.flat
        return jackknife(lambda mean: mean, self.maps[kept], (self.images - self.flat)[kept])[2]

    def total_variation(self, average: str = "map_of_means") -> tuple[float, float, float]:
        """TV of a map (Section 4.2.1): the mean squared difference of neighbouring pixels.

        The noise of finitely many images adds to every squared difference, so the plain value, which the paper's tables
        hold, is too large; the third number has the jackknife's estimate of that taken out.

        Parameters
        ----------
        average : {"map_of_means", "mean_of_maps"}, default "map_of_means"
            Which map; both are brought to mean square one before differences are taken, so that the two compare (the mean
            of maps as it stands has this times its own mean square).

        Returns
        -------
        value : float
            The total variation.
        standard_error : float
            Its standard error.
        unbiased : float
            The value without the contribution of the noise.

        Raises
        ------
        SpecificationError
            If `average` is another name.
        """
        if average == "map_of_means":
            value, bias, error = jackknife(lambda mean: total_variation(channel_importance(mean)), self.sums, self.images)
        elif average == "mean_of_maps":
            kept = self.images > self.flat
            value, bias, error = jackknife(total_variation, self.maps[kept], (self.images - self.flat)[kept])
        else:
            raise SpecificationError(f"average is {average!r}; it is 'map_of_means' or 'mean_of_maps'")
        return float(value), float(error), float(value - bias)

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw `map_of_means`, divided by its mean, with its TV in the title.

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.
        **style : dict
            What matplotlib's `imshow` takes (cmap, vmin, vmax, norm), on one axis what `plot` takes beside vmin and vmax.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from landscape.maps.plot import plot_map

        value, error, _ = self.total_variation()
        shape = self.map_of_means
        return plot_map(shape / shape.mean(), ax, title=f"{self.count} images, TV {value:.2g} ± {error:.1g}", **style)

    def _repr_html_(self) -> str:
        from validation.report.html import empirical_html

        return empirical_html(self)

    def __repr__(self) -> str:
        value, error, unbiased = self.total_variation()
        typical = float(np.sqrt(np.mean(np.square(self.map_of_means_error))))
        flat = f", {int(self.flat.sum())} without any gradient" if self.flat.any() else ""
        return (
            f"empirical landscape over {self.squared.shape}: {self.count} images{flat}, classes {self.classes}\n"
            f"  error {typical:.1%} a pixel; TV {value:.3g} +- {error:.1g}, {unbiased:.3g} without the noise of the images"
        )


def empirical_landscape(
    model: torch.nn.Module,
    batches: Iterable[Any],
    *,
    generator: torch.Generator | None = None,
    classes: str = "sampled",
    progress: bool = False,
) -> EmpiricalLandscape:
    """I(f)^2 over a data set, streamed: (1/M) sum_m (dh_y/dx)^2 with y ~ p(y|X_m), or summed over all y with weights p(y|X_m).

    The model is put in evaluation mode meanwhile and left as it was. Memory: one batch, and 64 blocks of float64 maps.

    Parameters
    ----------
    model : torch.nn.Module
        Returns logits (N, classes).
    batches : iterable
        A DataLoader, say, of images (N, channels, *positions), or of tuples and lists that begin with them.
    generator : torch.Generator or None, default None
        Where y is drawn from, one uniform number per image, so the same classes for any batch size; needed for "sampled".
    classes : {"sampled", "all"}, default "sampled"
        "sampled" takes one backward pass per batch, "all" is exact and takes one backward pass per class.
    progress : bool, default False
        Whether to show a bar over the batches.

    Returns
    -------
    EmpiricalLandscape
        Maps over input positions with standard errors, total variation, and a plot.

    Raises
    ------
    SpecificationError
        If there are no images, images are not finite floating point or change shape, the generator is missing, or gradients
        are not finite (with the image's number).
    UnsupportedError
        If outputs are not logits (N, classes).

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    >>> with torch.no_grad():
    ...     weight = model[1].weight.copy_(
    ...         torch.tensor([[1.0, 2.0, 1.0, 0.0], [-1.0, 2.0, 1.0, 0.0]])
    ...     )
    >>> landscape = empirical_landscape(
    ...     model, [torch.ones(5, 1, 4), torch.ones(3, 1, 4)], classes="all"
    ... )
    >>> landscape.squared.round(6), landscape.count
    (array([1., 4., 1., 0.]), 8)
    """
    if classes not in ("sampled", "all"):
        raise SpecificationError(f"classes is {classes!r}; it is 'sampled' (from p(y|x)) or 'all' (the exact sum)")
    if classes == "sampled" and generator is None:
        raise SpecificationError("classes='sampled' draws y from p(y|x): give generator=torch.Generator().manual_seed(0)")
    if not isinstance(batches, Iterable):
        raise SpecificationError(f"batches is a {type(batches).__name__}; it is an iterable of batches of images")
    blocks = Blocks()
    total = len(batches) if isinstance(batches, Sized) else None
    with preserve_state(model), progress_bar(progress, total, unit="batch") as bar:
        device = device_of(model)
        for batch in batches:
            images = batch[0] if isinstance(batch, tuple | list) and batch else batch
            if not isinstance(images, torch.Tensor) or images.ndim < 3 or not images.is_floating_point():
                raise SpecificationError(
                    f"after {blocks.seen} images, a batch is a {type(images).__name__} of shape "
                    f"{tuple(getattr(images, 'shape', ()))}; it must be floating-point images (N, channels, *positions), "
                    "or a tuple that begins with them"
                )
            broken = (~torch.isfinite(images)).flatten(1).any(dim=1).nonzero()
            if len(broken):
                raise SpecificationError(f"image {blocks.seen + int(broken[0])} has NaN or infinite pixels; give finite images")
            if len(images):
                blocks.add(_squares(model, images.to(device), generator, classes))
            bar.update()
    if not blocks.seen:
        raise SpecificationError("there are no images in batches; an iterator that was read before is empty the second time")
    return EmpiricalLandscape(*blocks.arrays(), classes)


def _squares(model: torch.nn.Module, images: torch.Tensor, generator: torch.Generator | None, classes: str) -> torch.Tensor:
    """(dh_y/dx)^2 of each image, in float64, of a drawn class or averaged over the classes with weights p(y|x)."""
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        logits = call_model(model, x)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(x):
            shape = tuple(getattr(logits, "shape", ()))
            raise UnsupportedError(
                f"the model returns a {type(logits).__name__} of shape {shape} for {len(x)} images; wrap it so that it "
                "returns logits (N, classes)"
            )
        p = logits.detach().double().softmax(dim=1)
        if classes == "all":
            total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
            for y in range(logits.shape[1]):
                found = gradient(logits[:, y].sum(), x, retain_graph=y + 1 < logits.shape[1])
                total += p[:, y].reshape(-1, *(1 for _ in x.shape[1:])) * found.double().square()
            return total
        assert generator is not None
        # the inverse of the distribution function: one number per image, whatever the batch
        u = torch.rand(len(x), 1, dtype=torch.float64, generator=generator, device=generator.device).to(p.device)
        drawn = torch.searchsorted(p.cumsum(dim=1), u, right=True).clamp_(max=logits.shape[1] - 1)
        return gradient(logits.gather(1, drawn).sum(), x).double().square()

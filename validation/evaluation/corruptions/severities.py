"""The names of the 19 corruptions and the numbers that set their severities: ImageNet-C's and CIFAR-10-C's.

D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (2019), with
the numbers of the programs that made the published sets (github.com/hendrycks/robustness, `make_imagenet_c.py` and
`make_cifar_c.py`). All of them are theirs; what each means is said where the corruption is. Lengths are pixels of the image
as it is given, at any size: 3 pixels of blur are little on 224 pixels and much on 32, which is why there are two sets. Only
the elastic transform counts in widths of the image, since their programs do (theirs multiply 244, on 224 pixels).
"""

from collections.abc import Mapping
from types import MappingProxyType

from lattice import SpecificationError

__all__ = ["CATEGORIES", "CONSTANTS", "Constants", "SEVERITIES", "defaults_for"]

Constants = tuple[float, ...]  # what one corruption at one severity is set by

SEVERITIES = (1, 2, 3, 4, 5)

CATEGORIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
        "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        "weather": ("snow", "frost", "fog", "brightness"),
        "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
        "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
    }
)


def _table(**rows: tuple[float | Constants, ...]) -> Mapping[str, tuple[Constants, ...]]:
    return MappingProxyType({name: tuple(c if isinstance(c, tuple) else (c,) for c in row) for name, row in rows.items()})


def _elastic(unit: float, *rows: Constants) -> tuple[Constants, ...]:
    return tuple(tuple(unit * number for number in row) for row in rows)


CONSTANTS: Mapping[str, Mapping[str, tuple[Constants, ...]]] = MappingProxyType(
    {
        "imagenet": _table(
            gaussian_noise=(0.08, 0.12, 0.18, 0.26, 0.38),
            shot_noise=(60, 25, 12, 5, 3),
            impulse_noise=(0.03, 0.06, 0.09, 0.17, 0.27),
            defocus_blur=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
            glass_blur=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            motion_blur=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            zoom_blur=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
            snow=(
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
            frost=((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
            fog=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
            brightness=(0.1, 0.2, 0.3, 0.4, 0.5),
            contrast=(0.4, 0.3, 0.2, 0.1, 0.05),
            elastic_transform=_elastic(
                244 / 224, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)
            ),
            pixelate=(0.6, 0.5, 0.4, 0.3, 0.25),
            jpeg_compression=(25, 18, 15, 10, 7),
            speckle_noise=(0.15, 0.2, 0.35, 0.45, 0.6),
            gaussian_blur=(1, 2, 3, 4, 6),
            spatter=(
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            ),
            saturate=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        ),
        "cifar": _table(
            gaussian_noise=(0.04, 0.06, 0.08, 0.09, 0.1),
            shot_noise=(500, 250, 100, 75, 50),
            impulse_noise=(0.01, 0.02, 0.03, 0.05, 0.07),
            defocus_blur=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            glass_blur=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            motion_blur=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            zoom_blur=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            snow=(
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            frost=((1, 0.2, 5), (1, 0.3, 5), (0.9, 0.4, 5), (0.85, 0.4, 5), (0.75, 0.45, 5)),
            fog=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
            brightness=(0.05, 0.1, 0.15, 0.2, 0.3),
            contrast=(0.75, 0.5, 0.4, 0.3, 0.15),
            elastic_transform=_elastic(
                1, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)
            ),
            pixelate=(0.95, 0.9, 0.85, 0.75, 0.65),
            jpeg_compression=(80, 65, 58, 50, 40),
            speckle_noise=(0.06, 0.1, 0.12, 0.16, 0.2),
            gaussian_blur=(0.4, 0.6, 0.7, 0.8, 1),
            spatter=(
                (0.62, 0.1, 0.7, 0.7, 0.5, 0),
                (0.65, 0.1, 0.8, 0.7, 0.5, 0),
                (0.65, 0.3, 1, 0.69, 0.5, 0),
                (0.65, 0.1, 0.7, 0.69, 0.6, 1),
                (0.65, 0.1, 0.5, 0.68, 0.6, 1),
            ),
            saturate=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ),
    }
)


def defaults_for(size: int) -> str:
    """The set of numbers made for images whose short side is `size` pixels: "cifar" below 64, else "imagenet".

    Parameters
    ----------
    size : int
        Of the short side.

    Returns
    -------
    str
        A set's name.

    Examples
    --------
    >>> defaults_for(32), defaults_for(224)
    ('cifar', 'imagenet')
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SpecificationError(f"size is {size!r}; the short side of an image is a whole number of pixels, such as 32 or 224")
    return "cifar" if size < 64 else "imagenet"

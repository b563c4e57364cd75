"""Figures as files: PNG in at most 256 colours, at a third of the size."""

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

__all__ = ["save", "with_a_palette"]


def save(figure: Figure, path: Path, *, dpi: int = 110) -> None:
    """Write `path` as .png."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    path.with_suffix(".png").write_bytes(with_a_palette(picture.getvalue()))


def with_a_palette(png: bytes) -> bytes:
    """The same picture in at most 256 colours."""
    small = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()

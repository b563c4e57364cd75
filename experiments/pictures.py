"""Figures as files: PNG in at most 256 colours, at a third of the size; those of this folder say which code drew them."""

import ast
import inspect
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

__all__ = ["DRAWN_BY", "code_of", "save", "with_a_palette"]

DRAWN_BY = "Drawn by"  # the text in a PNG that names the code of the functions that drew it


def save(figure: Figure, path: Path, *, dpi: int = 110, drawn_by: str = "") -> None:
    """Write `path` as .png; `drawn_by` is kept in the file, for a test that asks whether it is still so."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    path.with_suffix(".png").write_bytes(with_a_palette(picture.getvalue(), drawn_by=drawn_by))


def with_a_palette(png: bytes, *, drawn_by: str = "") -> bytes:
    """The same picture in at most 256 colours, none of which is far from its own."""
    small, text = BytesIO(), PngInfo()
    if drawn_by:
        text.add_text(DRAWN_BY, drawn_by)
    # of Pillow's ways the one that keeps colour bars smooth
    picture = Image.open(BytesIO(png)).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(small, "png", optimize=True, pnginfo=text)
    return small.getvalue()


def code_of(*functions: Callable[..., Any]) -> str:
    """A digest of what functions do: of their code without docstrings, comments and line breaks.

    >>> len(code_of(save))
    16
    """
    trees = [ast.parse(dedent(inspect.getsource(function))).body[0] for function in functions]
    for tree in trees:
        assert isinstance(tree, ast.FunctionDef)
        if ast.get_docstring(tree) is not None:
            del tree.body[0]
    return sha256("\n".join(map(ast.dump, trees)).encode()).hexdigest()[:16]

"""Where the results of a command go: paths that are checked before anything takes time, and figures."""

import io
import os
from pathlib import Path
from typing import Any

from lattice import SpecificationError
from lattice.results.files import write_bytes

__all__ = ["FIGURES", "beside", "checked_out", "write_figure"]

FIGURES = (".png", ".pdf", ".svg")


def checked_out(path: Path | None, endings: tuple[str, ...] = (), *, option: str = "--out") -> None:
    """`SpecificationError` where no file can be written to what an option names.

    `endings`: what the name of a file ends in, ("",) for anything; () where the option is only the beginning of names.
    """
    if path is None:
        return
    if not os.path.isdir(path.absolute().parent):  # unlike `is_dir()` false for a name that is too long
        raise SpecificationError(f"{option} {path}: the folder {path.absolute().parent} does not exist")
    if endings and os.path.isdir(path):
        raise SpecificationError(f"{option} {path} is a folder; give the name of a file in it")
    if endings and not path.name.lower().endswith(endings):
        raise SpecificationError(f"{option} {path} ends in {path.suffix or 'nothing'}; a name ends in {', '.join(endings)}")


def write_figure(path: Path, figure: Any, **options: Any) -> None:
    """What matplotlib's `savefig` does, for a file that is there as a whole or not at all; its ending says of which kind."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower(), **options)
    write_bytes(path, content.getvalue())


def beside(path: Path, ending: str) -> Path:
    """The file of the same name with an ending: `runs/a`, "md" -> `runs/a.md`."""
    return path.with_name(f"{path.name}.{ending}")

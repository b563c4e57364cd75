"""From results to files: pages are rendered, with the date, the versions and the commit, and written as a whole."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape import advise
from lattice import PilcroError
from lattice.results.files import read_arrays, write_bytes
from validation.report.page import render, render_advice
from validation.report.run import render_run
from validation.runtime.versions import made_now

if TYPE_CHECKING:
    from landscape import Advice, Landscape
    from validation.comparison.compare import Agreement
    from validation.montecarlo.estimate import Estimate

__all__ = ["command_line", "write_advice", "write_report", "write_run"]


def command_line(name: str, command: Any) -> str:
    """What one types for a command of `validation.__main__`: its required field, and by name what is not the default."""
    words = ["pilcro", name]
    for field in fields(command):
        value = getattr(command, field.name)
        if field.default is MISSING:
            words.append(str(value))
        elif value != field.default:
            words.append(f"--{field.name.replace('_', '-')}")
            words += [] if value is True else map(str, value if isinstance(value, tuple) else [value])
    return shlex.join(words)


def write_report(
    path: Path,
    land: Landscape,
    estimate: Estimate | None,
    agreement: Agreement | None,
    *,
    model: Any,
    title: str,
    made: Mapping[str, str],
    progress: bool = False,
) -> None:
    """Write the page about `land`, the prediction for `model` (a factory or module), to `path`, as a whole or not at all.

    `made`: how, by name. The page has no advice where `landscape.advise` refuses the network.
    """
    try:
        advice = advise(model, land.lattice.input_shape, progress=progress)
    except PilcroError:
        advice = None
    page = render(land, estimate, agreement, advice, title=title, made={**made, **made_now()})
    write_bytes(path, page.encode())


def write_advice(path: Path, advice: Advice, *, title: str, made: Mapping[str, str]) -> None:
    """Write the page about advice to `path`, as a whole or not at all."""
    write_bytes(path, render_advice(advice, title=title, made={**made, **made_now()}).encode())


def write_run(path: Path, folder: Path, result: Mapping[str, Any], *, title: str, made: Mapping[str, str]) -> None:
    """Write the page about a finished run, its `folder` and what its result.json says, to `path`, as a whole or not at all."""
    landscapes = read_arrays(folder / "landscape.npz")[1]
    write_bytes(path, render_run(result, landscapes, title=title, made={**made, **made_now()}).encode())

"""What a run writes while it trains, for other programs to read: RUN/log.csv always, and TensorBoard's events when asked.

Both are functions of the state that checkpoints keep, so that a run that was stopped and went on logs what one run would have.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lattice import SpecificationError
from lattice.lazy import to_install
from lattice.results.files import write_bytes
from validation.training.recipes import Recipe

__all__ = ["COLUMNS", "LOGS", "Log", "described", "event_writer", "logged", "run_log"]

LOGS = ("csv", "tensorboard")
TRAINED = ("train_loss", "train_accuracy", "penalty")  # means over an epoch's steps
TESTED = ("top1", "top5", "loss", "tv", "tv_error")
COLUMNS = ("step", "epoch", "lr", "weight", *TRAINED, *TESTED)


def described(recipe: Recipe) -> str:
    """One line about what a run is going to do.

    Parameters
    ----------
    recipe : Recipe
        Of the run.

    Returns
    -------
    str
        Network, data, length, penalty and seed; the whole recipe is in RUN/config.json.

    Examples
    --------
    >>> described(Recipe().changed(kind="target"))
    'small on mnist (32 px, augment none): epochs 6, batch 64, lr 0.1; penalty target, alpha 10 every 10 steps; seed 0'
    """
    penalty = recipe.penalty
    paid = f"penalty {penalty.kind}, {penalty.reading} {penalty.alpha:g} every {penalty.interval} steps"
    return (
        f"{recipe.model} on {recipe.data} ({recipe.size} px, augment {recipe.augment}): epochs {recipe.epochs}, batch "
        f"{recipe.batch}, lr {recipe.lr:g}; {'no penalty' if penalty.kind == 'none' else paid}; seed {recipe.seed}"
    )


def logged(
    recipe: Recipe, epoch_steps: int, rows: Sequence[Mapping[str, Any]], early: Sequence[Mapping[str, Any]]
) -> list[dict[str, float | int]]:
    """A row for each time the test images were scored, with `COLUMNS`; what is not known inside an epoch is left out.

    Parameters
    ----------
    recipe : Recipe
        Of the run: its learning rate and the penalty's weight at the last step that has one.
    epoch_steps : int
        Updates of an epoch.
    rows : sequence of mappings
        One for each epoch.
    early : sequence of mappings
        Those inside the first epoch.

    Returns
    -------
    list of dict
        In the order of the steps.
    """
    found = []
    for row in [*early, *rows]:
        step = round(row["epoch"] * epoch_steps)
        last = step - 1
        rates = {
            "step": step,
            "epoch": row["epoch"],
            "lr": recipe.rate(last, epoch_steps * recipe.epochs),
            "weight": recipe.penalty.weight(last - last % recipe.penalty.interval),
        }
        found.append(rates | {name: row[name] for name in (*TRAINED, *TESTED) if name in row})
    return found


class Log:
    """Where the rows go: log.csv in the run's folder, and perhaps a writer of TensorBoard's."""

    def __init__(self, folder: Path, events: Any = None) -> None:
        self.path, self.events, self.count = folder / "log.csv", events, 0

    def write(self, rows: Sequence[Mapping[str, float | int]]) -> None:
        """Write all rows to the file, and those that are new as events."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_bytes(self.path, text.getvalue().encode())
        if self.events is not None:
            for row in rows[self.count :]:
                for name, value in row.items():
                    if name != "step":
                        about = "test" if name in TESTED else "train"
                        self.events.add_scalar(f"{about}/{name.removeprefix('train_')}", value, row["step"])
            self.events.flush()
        self.count = len(rows)


def event_writer(kind: str) -> Any:
    """What writes the events of a log of this kind: a class of torch's, or None.

    Parameters
    ----------
    kind : {"csv", "tensorboard"}
        What is written.

    Returns
    -------
    type, optional
        `torch.utils.tensorboard.SummaryWriter` for "tensorboard".

    Raises
    ------
    SpecificationError
        For another kind, and where TensorBoard is not installed.

    Examples
    --------
    >>> event_writer("csv") is None
    True
    """
    if kind not in LOGS:
        raise SpecificationError(f"log is {kind!r}; it is {' or '.join(LOGS)}")
    if kind == "csv":
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SpecificationError(f"a log for TensorBoard needs it: {to_install('tensorboard')}") from error
    return SummaryWriter


@contextmanager
def run_log(folder: Path, writer: Any, recipe: Recipe) -> Iterator[Log]:
    """The log of a run. Events go to RUN/tensorboard, and hide those of before the run went on.

    Parameters
    ----------
    folder : Path
        Of the run.
    writer : type, optional
        What `event_writer` gave.
    recipe : Recipe
        TensorBoard shows it as text.

    Yields
    ------
    Log
        Whose `write` takes all rows there are.
    """
    if writer is None:
        yield Log(folder)
        return
    events = writer(str(folder / "tensorboard"), purge_step=0)
    try:
        events.add_text("recipe", f"```\n{recipe}\n```")
        yield Log(folder, events)
    finally:
        events.close()

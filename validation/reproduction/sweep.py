"""Many recipes, trained one after another: killed at any moment the same call goes on, and several processes share the runs.

A run belongs to the process that holds its folder. A process passes by what others hold and comes back to it: when the holder
is killed its lock falls, and another goes on from the last checkpoint. A run that diverges is noted, and no longer tried.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.progress import progress_bar
from lattice import SpecificationError
from validation.runtime.locks import locked
from validation.training.checkpoint import DivergedError, RunHeldError, read_json, write_json
from validation.training.loop import train
from validation.training.recipes import Recipe

__all__ = ["Sweep", "failure", "run_folder", "sweep", "turn"]

PATIENCE = 1.0  # seconds before what others hold is looked at again


@dataclass(frozen=True)
class Sweep:
    """Where runs are kept, where data lie, on what they are trained, and whether bars are shown."""

    folder: Path
    root: Path | None = None
    device: str = "auto"
    save_every: int = 200
    progress: bool = False
    say: Callable[[str], None] = lambda _: None


def run_folder(folder: Path, recipe: Recipe) -> Path:
    """The folder of one run: words that tell it from its like, and a hash of what differs from a recipe's defaults.

    Examples
    --------
    >>> run_folder(Path("runs"), Recipe(seed=3)).name
    'mnist-none-none-seed3-44136fa3'
    """
    base, penalty = Recipe().json(), recipe.penalty
    plain = {name: value for name, value in replace(recipe, seed=0).json().items() if value != base[name]}
    if "penalty" in plain:
        plain["penalty"] = {name: value for name, value in plain["penalty"].items() if value != base["penalty"][name]}
    mark = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
    weight = "" if penalty.kind == "none" else f"{penalty.alpha:g}"
    return folder / f"{recipe.data}-{recipe.augment}-{penalty.kind}{weight}-seed{recipe.seed}-{mark}"


def failure(folder: Path) -> str | None:
    """Why the run in this folder diverged; None where it did not."""
    path = folder / "failed.json"
    return str(read_json(path).get("error", "")) if path.exists() else None


def sweep(recipes: Sequence[Recipe], where: Sweep) -> list[Path]:
    """Train all recipes that are not trained yet, and wait for those that other processes train.

    Parameters
    ----------
    recipes : sequence of Recipe
        Each with its seed.
    where : Sweep
        Folder, data, device.

    Returns
    -------
    list of Path
        The run folders, in the order of the recipes; each holds result.json, or failed.json where training diverged.

    Raises
    ------
    SpecificationError
        For data or a configuration that cannot be had, and under torchrun.
    TrainingError
        For a disk that refuses.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SpecificationError(
            "a sweep is shared by starting the same command several times, each process with its own runs (and its own GPU by "
            "CUDA_VISIBLE_DEVICES); torchrun shares the batches of one run: `pilcro train`"
        )
    where.folder.mkdir(parents=True, exist_ok=True)
    folders = {run_folder(where.folder, recipe): recipe for recipe in recipes}
    with progress_bar(where.progress, len(folders), unit="run") as bar:
        missing = list(folders)
        while missing:
            before = len(missing)
            for folder in list(missing):
                if _over(folder) or _trained(folders[folder], folder, where, bar):
                    missing.remove(folder)
                    bar.update()
            if missing and len(missing) == before:  # all that is left is with others
                bar.set_postfix_str(f"{len(missing)} with other processes")
                time.sleep(PATIENCE)
    return list(folders)


def _over(folder: Path) -> bool:
    return (folder / "result.json").exists() or (folder / "failed.json").exists()


def _trained(recipe: Recipe, folder: Path, where: Sweep, bar: Any) -> bool:
    """Train one run; False where another process holds it."""
    bar.set_postfix_str(folder.name)

    def say(text: str) -> None:
        where.say(f"{folder.name}: {text}")

    try:
        train(
            recipe,
            folder,
            root=where.root,
            device=where.device,
            save_every=where.save_every,
            progress=where.progress,
            say=say,
        )
    except RunHeldError:
        return False
    except DivergedError as error:
        write_json(folder / "failed.json", {"recipe": recipe.json(), "error": str(error)})
        say(f"diverged: {error}. Noted in {folder / 'failed.json'}; remove that file to try again")
    return True


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Hold a folder inside, after waiting for whoever holds it: what two processes must not do at once."""
    while True:
        with locked_or_not(folder) as held:
            if held:
                yield
                return
        time.sleep(PATIENCE)


@contextmanager
def locked_or_not(folder: Path) -> Iterator[bool]:
    """Whether this process got the folder."""
    try:
        lock = locked(folder)
        lock.__enter__()
    except SpecificationError:
        yield False
        return
    try:
        yield True
    finally:
        lock.__exit__(None, None, None)

"""What is evaluated: the networks of finished runs, or of any factory with saved weights, each with its data.

A subject is known by the hash of its weights and of its answers to two test images, computed on the CPU, so that numbers kept
for it are not mistaken for those of another network, or of the same weights under other code.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from lattice import SpecificationError
from validation.datasets.catalogue import load
from validation.datasets.dataset import Dataset, Source
from validation.evaluation.runs.tables import Result, collect, grouped, label
from validation.runtime.logits import logits
from validation.runtime.preserve_state import preserve_state
from validation.training.checkpoint import RunFolder
from validation.training.models import initial_network
from validation.training.recipes import Recipe

__all__ = ["Repeats", "Subject", "of_factories", "of_runs", "read_weights", "trained"]

PROBES = 2  # test images whose answers go into the hash


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network, how to make it untrained, its data, the hash it is known by, and where its results are kept."""

    name: str
    model: torch.nn.Module
    fresh: Callable[[], torch.nn.Module]
    data: Dataset
    sha256: str
    home: Path

    @property
    def test(self) -> Source:
        """The test images."""
        return self.data.test

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of one image."""
        return tuple(self.test.images(torch.arange(1)).shape[1:])

    @property
    def images(self) -> tuple[str, tuple[int, ...]]:
        """What the test images are known by: folders have one hash at every size."""
        return self.data.sha256, self.shape


@dataclass(frozen=True, eq=False)
class Repeats:
    """Subjects that differ by their seed alone, what they are called, their run folders or weights, and of runs the recipe."""

    label: str
    subjects: tuple[Subject, ...]
    places: tuple[Path, ...] = ()
    recipe: Recipe | None = None


def trained(result: Result, data: Dataset) -> torch.nn.Module:
    """The network of a finished run with its last weights, in evaluation mode.

    Parameters
    ----------
    result : Result
        A finished run.
    data : Dataset
        What it was trained on.

    Returns
    -------
    torch.nn.Module
        On the CPU, in evaluation mode.

    Raises
    ------
    SpecificationError
        Where the run has no whole checkpoint, or `data` are not what it was trained on.
    """
    if data.sha256 != result.content.get("data"):
        raise SpecificationError(f"{result.folder} was trained on other data: {result.recipe.data} has another hash here")
    saved = RunFolder(result.folder).latest()
    if saved is None:
        raise SpecificationError(f"{result.folder} has no checkpoint")
    model = untrained(result, data)
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in saved.tensors.items() if name.startswith("model.")}
    )
    return model.eval()


def untrained(result: Result, data: Dataset) -> torch.nn.Module:
    """The network of a run as it was before its first step."""
    return initial_network(result.recipe, data)


def of_runs(folders: Sequence[Path], *, root: Path | None, device: torch.device, kept: Path | None) -> list[Repeats]:
    """Finished runs by recipe, their repeats together; results are kept in RUN/evaluation, or in `kept`.

    Parameters
    ----------
    folders : sequence of Path
        Of finished runs.
    root : Path, optional
        Where CIFAR's archives or the image folders lie.
    device : torch.device
        "auto", "cpu" or "cuda".
    kept : Path, optional
        Another folder for what is computed.

    Returns
    -------
    list[Repeats]
        In the order of first appearance.
    """
    data = cache(load)
    groups = grouped(collect(folders))
    recipes = [group.recipe for group in groups]

    def subject(result: Result) -> Subject:
        recipe = result.recipe
        held = data(recipe.data, root=root, size=recipe.size, evaluation_size=recipe.evaluation_size)
        model = trained(result, held)
        sha256 = fingerprint(model, held.test)
        home = kept or result.folder / "evaluation"
        return Subject(f"seed {recipe.seed}", model.to(device), lambda: untrained(result, held), held, sha256, home)

    return [
        Repeats(
            label(group.recipe, recipes),
            tuple(map(subject, group.results)),
            tuple(result.folder for result in group.results),
            group.recipe,
        )
        for group in groups
    ]


def of_factories(
    names: Sequence[str],
    weights: Sequence[Path],
    data: Dataset,
    *,
    device: torch.device,
    kept: Path | None,
    torch_load: bool = False,
) -> list[Repeats]:
    """package.module:factory or file.py:factory with a state dict each, or one of them with several: its repeats.

    Results are kept in FILE.evaluation beside the weights, or in `kept`.

    Parameters
    ----------
    names : sequence of str
        Of the factories.
    weights : sequence of Path
        Files with state dicts.
    data : Dataset
        The data set.
    device : torch.device
        "auto", "cpu" or "cuda".
    kept : Path, optional
        Another folder for what is computed.
    torch_load : bool
        Read other files than safetensors by torch.load(weights_only=True).

    Returns
    -------
    list[Repeats]
        In the order of the names.

    Raises
    ------
    SpecificationError
        Where the numbers do not go together, and for weights that do not fit the network.
    """
    from landscape.tracing.model_names import model_factory

    if len(names) != 1 and len(names) != len(weights):
        raise SpecificationError(
            f"{len(names)} factories and {len(weights)} --weights: one for each, or several for one factory"
        )

    def fresh(name: str) -> torch.nn.Module:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            return model_factory(name)()

    def subject(name: str, path: Path) -> Subject:
        model = fresh(name)
        try:
            model.load_state_dict(read_weights(path, torch_load=torch_load))
        except RuntimeError as error:  # names or shapes that do not fit
            raise SpecificationError(f"{path} does not fit {name}: {error}") from error
        sha256 = fingerprint(model.eval(), data.test)
        home = kept or path.with_name(f"{path.name}.evaluation")
        return Subject(path.name, model.to(device), lambda: fresh(name), data, sha256, home)

    each = [subject(name, path) for name, path in zip(list(names) * (len(weights) // len(names)), weights, strict=True)]
    if len(names) == 1:
        return [Repeats(names[0], tuple(each), tuple(weights))]
    return [Repeats(name, (one,), (path,)) for name, one, path in zip(names, each, weights, strict=True)]


def read_weights(path: Path, *, torch_load: bool = False) -> Mapping[str, torch.Tensor]:
    """A state dict from FILE.safetensors; with `torch_load` also from what torch.save wrote, which can hold only tensors.

    Parameters
    ----------
    path : Path
        Of the file.
    torch_load : bool
        Read other files than safetensors by torch.load(weights_only=True).

    Returns
    -------
    Mapping[str, torch.Tensor]
        Tensors by name.

    Raises
    ------
    SpecificationError
        For a file that cannot be read, and for torch's own format where `torch_load` is False.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecificationError(f"--weights {path} cannot be read: {error}") from error
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load as read

        try:
            return read(content)
        except SafetensorError as error:
            raise SpecificationError(f"{path} is damaged: {error}") from error
    if not torch_load:
        raise SpecificationError(
            f"--weights {path} is not FILE.safetensors. Other files are read by torch.load(weights_only=True), and only with "
            "--torch-load; or write model.state_dict() with safetensors.torch.save_file"
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is none of torch's raises
        raise SpecificationError(f"torch.load(weights_only=True) does not read {path}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        held = ", ".join(map(str, list(found)[:5])) if isinstance(found, dict) else type(found).__name__
        raise SpecificationError(f"{path} holds {held}, and not the tensors of a state dict by name")
    return found


def fingerprint(model: torch.nn.Module, source: Source) -> str:
    """SHA-256 of the state dict and of the answers to the first test images, of a model on the CPU."""
    total = hashlib.sha256()
    with torch.no_grad(), preserve_state(model):
        answers = logits(model, source.batch(torch.arange(min(PROBES, len(source)))))
    for name, value in {**model.state_dict(), " answers": answers}.items():
        tensor = value.detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()

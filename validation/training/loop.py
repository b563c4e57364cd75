"""Training (Eq. 15): the loop on one screen, its state in a run directory, the same from one process to many.

All randomness is a function of (seed, step), so a run that goes on from a checkpoint is bit for bit the run that was never
stopped (on the CPU), and two processes see the batch that one would.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from landscape.progress import progress_bar
from lattice import SpecificationError
from lattice.checks import whole
from lattice.results.files import write_arrays
from validation.datasets.catalogue import load
from validation.datasets.dataset import NUMBERS, Dataset
from validation.gradients.input_gradient import sample_uniforms
from validation.runtime.process_group import World, averaging, world
from validation.runtime.seeds import generator
from validation.runtime.stopping import stop_requested
from validation.training.checkpoint import Checkpoint, DivergedError, RunFolder, read_json, write_json
from validation.training.log import Log, event_writer, logged, run_log
from validation.training.models import initial_network
from validation.training.penalty import Objective
from validation.training.recipes import Recipe, preset
from validation.training.scores import Scores, best_row, flip_asymmetry, score
from validation.training.start import decay_groups, gradient_norms, seeded_dropout, stated
from validation.training.target import cached_target

__all__ = ["Run", "train"]

SUMS = ("loss", "accuracy", "penalty", "penalties")  # of the epoch under way


@dataclass
class Run:
    """What changes while training: the objective with its model, the optimiser, the step, the metrics."""

    recipe: Recipe
    data: Dataset
    objective: Objective
    optimiser: torch.optim.SGD
    step: int = 0
    norms: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    early: list[dict[str, Any]] = field(default_factory=list)
    sums: list[float] = field(default_factory=lambda: [0.0] * len(SUMS))

    @property
    def model(self) -> torch.nn.Module:
        """The network alone."""
        return self.objective.model

    @property
    def epoch_steps(self) -> int:
        """Whole batches in the training set; the rest of an epoch's order is left out."""
        return len(self.data.train) // self.recipe.batch

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epoch_steps * self.recipe.epochs

    def momenta(self) -> dict[str, torch.Tensor]:
        """Momentum buffers by the names of their parameters; made (zero) where the optimiser has none yet."""
        for p in self.model.parameters():
            state = self.optimiser.state[p]
            if state.get("momentum_buffer") is None:
                # v <- m 0 + g at the first step: what torch's own first step does
                state["momentum_buffer"] = torch.zeros_like(p)
        return {name: self.optimiser.state[p]["momentum_buffer"] for name, p in self.model.named_parameters()}

    def checkpoint(self) -> Checkpoint:
        """The state as named tensors and numbers."""
        weights = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        momenta = {f"momentum.{name}": value for name, value in self.momenta().items()}
        return Checkpoint(self.step, weights | momenta, self.rows, self.sums, self.early)

    def restore(self, saved: Checkpoint) -> None:
        """Take a checkpoint's state."""
        weights = {name.removeprefix("model."): value for name, value in saved.tensors.items() if name.startswith("model.")}
        self.model.load_state_dict(weights)
        for name, buffer in self.momenta().items():
            buffer.copy_(saved.tensors[f"momentum.{name}"])
        self.step, self.rows, self.sums, self.early = saved.step, list(saved.rows), list(saved.sums), list(saved.early)


def batch_of(run: Run, place: World, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(images, labels, uniform numbers) of one step: this process's part of them."""
    source, recipe = run.data.train, run.recipe
    epoch, within = divmod(step, run.epoch_steps)
    order = torch.randperm(len(source), generator=generator(recipe.seed, "order", epoch))
    part = place.part(recipe.batch)
    indices = order[within * recipe.batch : (within + 1) * recipe.batch][part]
    numbers = torch.rand(recipe.batch, NUMBERS, generator=generator(recipe.seed, "augmentation", step))[part]
    uniforms = sample_uniforms(recipe.batch, generator(recipe.seed, "classes", step))[part]
    return source.batch(indices, numbers), source.labels[indices], uniforms


def batches(run: Run, place: World) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`batch_of` each step from run.step on; folders are decoded one batch ahead."""
    if not run.data.train.prefetch:
        yield from (batch_of(run, place, step) for step in range(run.step, run.steps))
        return
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(batch_of, run, place, run.step)
        for step in range(run.step, run.steps):
            ready = coming.result()
            if step + 1 < run.steps:
                coming = ahead.submit(batch_of, run, place, step + 1)
            yield ready


def train(
    recipe: Recipe | str,
    folder: Path | str,
    *,
    root: Path | None = None,
    device: str = "auto",
    save_every: int = 200,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
    log: str = "csv",
) -> dict[str, Any]:
    """Train a recipe in a run folder, from where it stands (Eq. 15, Section 4.1). A finished run returns at once.

    SIGTERM and SIGINT save and raise `SystemExit` (143, 130). Started by torchrun, all processes share each batch.

    Parameters
    ----------
    recipe : Recipe or str
        All that the result depends on, or the name of a preset: "laptop", "cifar100" or "imagenet".
    folder : Path or str
        Of the run; see `checkpoint`.
    root : Path, optional
        Where CIFAR's archives or the image folders lie.
    device : {"auto", "cpu", "cuda"}
        "auto": a GPU for each process, where there is one.
    save_every : int
        Steps from one checkpoint to the next; there is one after each epoch, too.
    progress : bool
        Show a bar.
    say : callable, optional
        Is given one line when training with a penalty starts: the gradient norms of penalty and cross-entropy at step 0.
    log : {"csv", "tensorboard"}
        FOLDER/log.csv has a row for each time the test images were scored; "tensorboard" writes FOLDER/tensorboard too.

    Returns
    -------
    dict
        What result.json holds: scores at the end and before training, epoch by epoch and of the best epoch, the gradient norms
        at step 0, the recipe, the hash of the data.

    Raises
    ------
    SpecificationError
        For a folder that another process holds, or that holds another configuration; for a log that cannot be written.
    TrainingError
        For a disk that refuses, and as `DivergedError` for NaN (before it reaches the weights) or a landscape of zeros.
    """
    recipe, folder = preset(recipe), Path(folder)
    whole("save_every", save_every, 1)
    writer = event_writer(log)
    with ExitStack() as stack:
        place = stack.enter_context(world(device))
        if recipe.batch % place.size:
            raise SpecificationError(f"a batch of {recipe.batch} does not split over {place.size} processes")
        home = RunFolder(folder)
        if place.first:
            home.hold(stack)
        data = load(
            recipe.data, root=root, size=recipe.size, augment=recipe.augment, evaluation_size=recipe.evaluation_size
        )  # fmt: skip
        if place.first:
            home.agree_on(recipe, data.sha256)
        if place.agree(place.first and (folder / "result.json").exists()):
            return read_json(folder / "result.json") if place.first else {}
        written = stack.enter_context(run_log(folder, writer, recipe)) if place.first else None
        run = begin(recipe, data, folder, place)
        run.norms = norms_at_start(run, home, place)
        if say is not None and place.first and "ratio" in run.norms:
            say(stated(run.norms))
        saved = home.latest() if place.first else None
        if saved is not None:
            run.restore(saved)
        share(run, place)
        stop = stack.enter_context(stop_requested())
        objective = stack.enter_context(averaging(run.objective, place))
        bar = stack.enter_context(progress_bar(progress and place.first, run.steps, initial=run.step, unit="step", leave=None))
        for images, labels, uniforms in batches(run, place):
            update(run, objective, images.to(place.device), labels.to(place.device), uniforms, place)
            show(bar, run)
            ended = run.step % run.epoch_steps == 0
            if ended:
                close_epoch(run, place)
            elif run.step in early_steps(run) and place.first:
                found = scored(run, place)
                run.early.append({"epoch": run.step / run.epoch_steps, **found.row()})
            if written is not None:
                record(run, written)
            if place.agree(bool(stop)):
                if place.first:
                    home.save(run.checkpoint())
                raise SystemExit(stop.status if stop else 143)
            if place.first and (ended or run.step % save_every == 0):
                home.save(run.checkpoint())
        return finish(run, home, place) if place.first else {}


def begin(recipe: Recipe, data: Dataset, folder: Path, place: World) -> Run:
    """A run at step 0: model, target, objective, optimiser."""
    model = initial_network(recipe, data)
    if place.size > 1 and place.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # none for the CPU
    model.to(place.device, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)  # type: ignore[call-overload]
    if len(data.train) < recipe.batch:
        raise SpecificationError(f"{len(data.train)} training images do not fill one batch of {recipe.batch}")
    target = cached_target(data, recipe.penalty.width, folder.parent, place) if recipe.penalty.kind == "target" else None
    steps = len(data.train) // recipe.batch * recipe.epochs
    if recipe.lr_warmup >= steps:
        raise SpecificationError(
            f"a warm-up of {recipe.lr_warmup} steps never reaches the learning rate {recipe.lr:g}: the run has {steps} steps; "
            "give a shorter --lr-warmup or more --epochs"
        )
    objective = Objective(
        model, recipe.penalty, target, label_smoothing=recipe.label_smoothing, precision=recipe.precision
    ).to(place.device)  # fmt: skip
    optimiser = torch.optim.SGD(decay_groups(model, recipe), lr=recipe.lr, momentum=recipe.momentum)
    return Run(recipe, data, objective, optimiser)


def norms_at_start(run: Run, home: RunFolder, place: World) -> dict[str, float]:
    """What `gradient_norms` says of the fresh network, as start.json keeps it."""
    path = home.path / "start.json"
    if place.agree(place.first and path.exists()):
        return dict(read_json(path)) if place.first else {}
    found = gradient_norms(run.objective, run.recipe, batch_of(run, place, 0), place)
    if place.first:
        write_json(path, found)
    return found


def early_steps(run: Run) -> set[int]:
    """The steps inside the first epoch after which the test images are scored, evenly spaced (Figure 4's zoom)."""
    parts = run.recipe.early_scores + 1
    return {round(run.epoch_steps * i / parts) for i in range(1, parts)} if run.step < run.epoch_steps else set()


def update(
    run: Run, objective: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, uniforms: torch.Tensor, place: World
) -> None:
    """One step: forward, penalty, backward, and the optimiser, unless a number is not finite."""
    weight = run.recipe.penalty.weight(run.step)
    for group in run.optimiser.param_groups:
        group["lr"] = run.recipe.rate(run.step, run.steps)
    if run.recipe.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    run.objective.train()
    run.optimiser.zero_grad(set_to_none=True)
    with seeded_dropout(run.recipe, run.step, place):
        try:
            total, loss, penalty, logits = objective(images, labels, uniforms, weight)
            total.backward()
        except SpecificationError as error:  # a landscape of zeros or NaN has no shape
            text = f"step {run.step}: {error}. Nothing was updated, and the last checkpoint is whole"
            raise DivergedError(text) from error
    norm = torch.nn.utils.get_total_norm([p.grad for p in run.model.parameters() if p.grad is not None])
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    told = place.mean(torch.stack([loss.double(), accuracy, penalty.double(), norm.double()])).tolist()
    if not all(map(math.isfinite, told)):
        raise DivergedError(
            f"step {run.step}: cross-entropy {told[0]:g}, penalty {told[2]:g} (weight {weight:g}), gradient norm {told[3]:g}. "
            "Nothing was updated, and the last checkpoint is whole. A smaller learning rate or alpha, or a longer warm-up "
            "of the penalty, may mend it"
        )
    run.optimiser.step()
    run.step += 1
    for i, value in enumerate((told[0], told[1], told[2], float(weight > 0))):
        run.sums[i] += value


def scored(run: Run, place: World) -> Scores:
    """The scores on the test images; a network whose logits no longer depend on its input has no landscape: it diverged."""
    try:
        return score(run.model, run.data.test, device=place.device)
    except SpecificationError as error:
        raise DivergedError(f"step {run.step}, on the test images: {error}. The last checkpoint is whole") from error


def close_epoch(run: Run, place: World) -> None:
    """One row of metrics: means over the epoch's steps, and the scores on the test images."""
    means = [run.sums[0] / run.epoch_steps, run.sums[1] / run.epoch_steps, run.sums[2] / max(run.sums[3], 1.0)]
    run.sums = [0.0] * len(SUMS)
    if place.first:
        found = scored(run, place)
        trained = dict(zip(("train_loss", "train_accuracy", "penalty"), means, strict=True))
        run.rows.append({"epoch": len(run.rows) + 1, **trained, **found.row()})


def share(run: Run, place: World) -> None:
    """All processes take the first one's state (a checkpoint is read by the first)."""
    step = torch.tensor(run.step, device=place.device)
    sums = torch.tensor(run.sums, dtype=torch.float64, device=place.device)
    place.told_by_first(step, sums, *run.model.state_dict().values(), *run.momenta().values())
    run.step, run.sums = int(step), sums.tolist()


def record(run: Run, log: Log) -> None:
    """Write what was scored to the log, if something was since it was last written."""
    if len(run.rows) + len(run.early) != log.count:
        log.write(logged(run.recipe, run.epoch_steps, run.rows, run.early))


def finish(run: Run, home: RunFolder, place: World) -> dict[str, Any]:
    """Write the landscape and the result: the scores at the end, before training, and epoch by epoch."""
    recipe, data = run.recipe, run.data
    last = score(run.model, data.test, device=place.device)
    first = score(initial_network(recipe, data).to(place.device), data.test, device=place.device)
    result = {
        "recipe": recipe.json(),
        "data": data.sha256,
        "test_images": len(data.test),
        "scores": last.row() | {"asymmetry": flip_asymmetry(last.landscape)},
        "before": first.row() | {"asymmetry": flip_asymmetry(first.landscape)},
        "best": best_row(run.rows),
        "rows": run.rows,
        "early": run.early,
        "gradient_norms": run.norms,
        "torch": torch.__version__,
    }
    write_arrays(home.path / "landscape.npz", {"kind": "landscape"}, {"after": last.landscape, "before": first.landscape})
    write_json(home.path / "result.json", result)
    return read_json(home.path / "result.json")


def show(bar: Any, run: Run) -> None:
    """Move on; the numbers beside the bar are means over the epoch so far, and the last epoch's scores."""
    bar.update(run.step - bar.n)
    if not bar.disable:
        steps = (run.step - 1) % run.epoch_steps + 1
        shown = {"loss": run.sums[0] / steps, "accuracy": run.sums[1] / steps, "penalty": run.sums[2] / max(run.sums[3], 1)}
        last = {"TV": run.rows[-1]["tv"], "top1": run.rows[-1]["top1"]} if run.rows else {}
        text = ", ".join(f"{name}={value:.3g}" for name, value in {**shown, **last}.items())
        bar.set_postfix_str(text, refresh=False)

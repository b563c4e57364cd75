"""`pilcro train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from validation.training.recipes import Recipe

__all__ = ["Train"]


@dataclass(frozen=True)
class Train:
    """Train a network with or without the paper's regulariser; the same command goes on where a run was stopped.

    RUN is the folder of the run: checkpoints, metrics, landscape and result. The preset fixes everything that is not given.
    Started by torchrun (`torchrun --nproc-per-node 2 -m validation train ...`), all processes share each batch.
    """

    run_folder: Path
    """the folder of the run (made if it is not there)"""
    preset: Literal["laptop", "cifar100", "imagenet"] = "laptop"
    """laptop (minutes on two cores, no download), cifar100 or imagenet (the paper's settings)"""
    penalty: Literal["none", "curvature", "target", "norm"] | None = None
    """none, curvature (Eq. 16), target (Eq. 17), norm (the gradient's size, for comparison)"""
    alpha: float | None = None
    """weight of the penalty at the steps that have one (default: the paper's 10)"""
    reading: Literal["alpha", "alpha_0"] | None = None
    """what alpha is: the weight as applied, or alpha_0, which is multiplied by T"""
    interval: int | None = None
    """steps from one penalty to the next (T)"""
    width: int | None = None
    """width of the Laplacian (k)"""
    warmup: int | None = None
    """steps over which the penalty's weight rises from zero"""
    reduction: Literal["mean", "sum", "literal"] | None = None
    """of the penalty over pixels: mean, sum, or literal (Eq. 16 a mean, Eq. 17 a sum)"""
    border: Literal["unpadded", "replicate", "reflect"] | None = None
    """of the curvature's Laplacian: unpadded (as printed; blind to the corners), replicate or reflect"""
    data: str | None = None
    """mnist, mnist-corner, digits, photos, photographs, cifar10, cifar100 or folder"""
    root: Path | None = None
    """where CIFAR's archives or the image folders lie"""
    size: int | None = None
    """pixels of a training image's side"""
    evaluation_size: int | None = None
    """pixels of a test image's side, for folders (0: the same)"""
    augment: Literal["none", "flip", "flip+crop", "zoom"] | None = None
    """none, flip (RC-), flip+crop (RC+) or zoom"""
    model: str | None = None
    """small, a torchvision name, NAME-cifar, package.module:factory or file.py:factory"""
    stem: Literal["auto", "imagenet", "cifar"] | None = None
    """of torchvision's ResNets: imagenet (7x7 stride 2, max-pool), cifar (3x3, no pool), auto (cifar for NAME-cifar)"""
    batch: int | None = None
    """images of a step, over all processes"""
    epochs: int | None = None
    """passes over the training images"""
    lr: float | None = None
    """learning rate of the first step, after its warm-up"""
    lr_warmup: int | None = None
    """steps over which the learning rate rises linearly to lr"""
    momentum: float | None = None
    """momentum of SGD"""
    weight_decay: float | None = None
    """L2 weight decay"""
    decay_norms: bool | None = None
    """whether the scales and shifts of norms decay too (True or False)"""
    decay_biases: bool | None = None
    """whether the biases of all other layers decay too (True or False)"""
    label_smoothing: float | None = None
    """mass spread over all classes"""
    early_scores: int | None = None
    """how often the test images are scored inside the first epoch (Figure 4's zoom)"""
    reweight: bool | None = None
    """multiply each input pixel by the weight that landscape.advise proposes"""
    precision: Literal["float32", "bfloat16"] | None = None
    """of the training forward"""
    channels_last: bool | None = None
    """memory format"""
    seed: int | None = None
    """root of all randomness"""
    device: str = "auto"
    """auto, cpu or cuda"""
    save_every: int = 200
    """steps between checkpoints"""
    report: Path | None = None
    """write one self-contained HTML page here: landscapes before and after, scores, epochs, recipe"""
    log: Literal["csv", "tensorboard"] = "csv"
    """csv (RUN/log.csv, always written), or tensorboard: RUN/tensorboard too"""
    json: bool = False
    """print one JSON object instead of text"""

    def recipe(self) -> Recipe:
        """The preset with what was given."""
        from validation.training.recipes import RECIPES

        apart = ("run_folder", "preset", "penalty", "root", "device", "save_every", "report", "log", "json")
        given = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in apart}
        given["kind"] = self.penalty
        return RECIPES[self.preset].changed(**{name: value for name, value in given.items() if value is not None})

    def run(self) -> dict[str, Any]:
        """Train; returns what result.json holds."""
        from validation.runtime.files import checked_out
        from validation.runtime.process_group import is_first
        from validation.training.log import described
        from validation.training.loop import train

        checked_out(self.report, ("",), option="--report")
        recipe = self.recipe()
        first = is_first()
        if first and not self.json:
            print(f"{self.run_folder}: {described(recipe)}", flush=True)
        result = train(
            recipe,
            self.run_folder,
            root=self.root,
            device=self.device,
            save_every=self.save_every,
            progress=not self.json,
            say=None if self.json else lambda text: print(text, flush=True),
            log=self.log,
        )
        if first and not self.json:
            before, after = result["before"], result["scores"]
            print(
                f"Top-1 {after['top1']:.4f}  Top-5 {after['top5']:.4f}  loss {after['loss']:.4f}  "
                f"TV {after['tv']:.4g} +- {after['tv_error']:.1g} (before training {before['tv']:.4g})",
                flush=True,
            )
        if first and self.report is not None:
            from validation.report.write import command_line, write_run

            title = f"{self.run_folder.name}: {recipe.data} with {recipe.penalty.kind.replace('none', 'no')} penalty"
            made = {"command": command_line("train", self)}
            write_run(self.report, self.run_folder, result, title=title, made=made)
            if not self.json:
                print(f"report: {self.report}", flush=True)
        return result

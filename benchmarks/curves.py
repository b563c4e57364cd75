"""Cost curves: lags, draws, processes, and the peak memory of counts, predictions and training steps."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import torch

import landscape
from benchmarks.rows import Result, Skip, at_least, at_most, row, side_by_side
from benchmarks.sweeps import exponent, lattice_sweep
from lattice import Activation, Conv, Lattice, Pool, families
from validation import Estimate, measure


@row("cost against lags")
def lags() -> Result:
    """Predictions that carry moments of pairs of cells: pools of K cells, stride 1, at both ends ask for K - 1 lags between.

    Every prediction is of another size, so that none finds its plan made already.
    """
    lags, sizes = [2, 4, 8, 16], count(256)

    def predicted(lag: int) -> None:
        layers = [layer for _ in range(6) for layer in (Conv(8, 3, padding=1), Activation("relu"))]
        landscape.predict(Lattice.chain((8, next(sizes)), [Pool("avg", lag + 1, 1), *layers, Pool("avg", lag + 1, 1)]))

    seconds = side_by_side({f"{lag} lags": partial(predicted, lag) for lag in lags}, seconds=10, rounds=10)
    return Result(seconds, [at_most(1.2, "exponent of the cost in lags", exponent(lags, list(seconds.values())))])


SMALL = Lattice.chain((3, 32, 32), [layer for _ in range(6) for layer in (Conv(8, 3, padding=1), Activation("relu"))])


@row("cost against draws")
def draws() -> Result:
    """`measure` of a small net on one thread."""
    numbers = [128 * 2**power for power in range(4)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ways = {f"{n} draws": partial(measure, SMALL, draws=n, device="cpu") for n in numbers}
        seconds = side_by_side(ways, seconds=15)
    finally:
        torch.set_num_threads(before)
    return Result(seconds, [at_most(1.1, "exponent of the cost in draws", exponent(numbers, list(seconds.values())))])


@row("Monte Carlo accuracy of 1 % a pixel, ResNet-50 at 224")
def accuracy() -> Result:
    """The sweep after tracing against `measure` reaching that accuracy: from the error of few draws, which falls as 1/sqrt.

    Beside it a small net, of which `measure` makes many at once.
    """
    try:
        from torchvision.models import resnet50
    except ImportError as error:
        raise Skip(f"{error.name} is not installed") from None

    def pays(predicted: Callable[[], object], measured: Callable[[], Estimate]) -> tuple[dict[str, float], float, str]:
        found: list[Estimate] = []
        ways = {"predict": predicted, "measure": lambda: found.append(measured())}
        seconds = side_by_side(ways, seconds=10, rounds=3)
        needed = found[0].draws * float((found[0].relative_error ** 2).mean()) / 0.01**2
        whole = seconds["measure"] * needed / found[0].draws
        return seconds, whole / seconds["predict"], f"{needed:.3g} draws would take {whole:.3g} s"

    sweep = lattice_sweep(families.bottleneck_resnet())
    large, ratio, told = pays(sweep, lambda: measure(lambda: resnet50(weights=None), (3, 224, 224), draws=20, device="cpu"))
    small, less, told_too = pays(lambda: landscape.predict(SMALL), lambda: measure(SMALL, draws=1024, device="cpu"))
    seconds = {"sweep": large["predict"], "measure, 20 draws": large["measure"]}
    notes = [told, f"6 layers, 8 channels, 32x32: {less:.3g} times cheaper; {told_too}, and predict {small['predict']:.2g} s"]
    return Result(seconds, [at_least(1e5, "cheaper by the sweep", ratio)], notes)


@row("measure on a GPU, 4096 draws of 6 layers, 8 channels, 32x32")
def on_a_gpu() -> Result:
    """The same call on the GPU and on the CPU."""
    if not torch.cuda.is_available():
        raise Skip("there was no GPU")
    ways = {device: partial(measure, SMALL, draws=4096, device=device) for device in ("cuda", "cpu")}
    seconds = side_by_side(ways, seconds=20)
    return Result(seconds, [at_least(1, "faster than on the CPU", seconds["cpu"] / seconds["cuda"])])


PROCESSES = """
import os, time, torch
from torch import distributed
from benchmarks.curves import SMALL
from validation import measure

torch.set_num_threads(1)
measure(SMALL, draws=64, device="cpu")
best = float("inf")
for _ in range(3):
    before = time.perf_counter()
    measure(SMALL, draws=1024, device="cpu")
    best = min(best, time.perf_counter() - before)
if os.environ.get("RANK", "0") == "0":
    print("seconds", best)
"""


@row("cost against processes")
def processes() -> Result:
    """1024 draws of a small net by one process and, under torchrun, by two; starting them is not counted."""
    seconds = {}
    for number in (1, 2):
        launcher = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(number),
            "--no-python",
            sys.executable,
        ]
        told = _output([*launcher, "-c", PROCESSES])
        seconds[f"{number} process{'es' * (number > 1)}"] = float(told.rpartition("seconds ")[2].split()[0])
    ratio = seconds["2 processes"] / seconds["1 process"]
    return Result(seconds, [at_most(0.65, "of the time of one process, with two", ratio)])


# --- peak memory -----------------------------------------------------------------------------------------------------------

PEAK = """
import ctypes, gc, time
from pathlib import Path

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

{setup}
run(small)
gc.collect()
trim = getattr(ctypes.CDLL(None), "malloc_trim", int)  # what is free goes back to the system, and is counted when taken again
trim(0)
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before, started = status("VmRSS"), time.perf_counter()
run(large)
print("peak", status("VmHWM") - before, time.perf_counter() - started)
"""

RESNET = "from lattice import families\nsmall, large = (families.bottleneck_resnet((3, n, n)) for n in (32, {size}))\n"
COUNTS = RESNET + "from lattice import path_counts as run"
PREDICT = RESNET + "from landscape import predict as run"
MEASURE = """
import torch
from lattice import Activation, Conv, Lattice
from validation import measure

def net(channels, size):
    layers = [layer for _ in range(6) for layer in (Conv(channels, 3, padding=1), Activation("relu"))]
    return Lattice.chain((3, size, size), layers)

torch.set_num_threads(1)
small, large = (net(8, 8), 64), (net(16, 64), {size})
run = lambda both: measure(both[0], draws=both[1], device="cpu")
"""
STEP = """
import torch
from torch.nn import functional
from torchvision.models import resnet18
from validation import curvature_penalty, importance_map

torch.manual_seed(0)
torch.set_num_threads(1)
model = resnet18(num_classes=10)
parameters, small, large = list(model.parameters()), 2, {size}

def run(batch):
    images, labels = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 10
    model.train()
    loss = functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, parameters)
    del loss
    if {penalised}:
        loss = curvature_penalty(importance_map(model, images, uniforms=torch.rand(batch, dtype=torch.float64)))
        torch.autograd.grad(loss, parameters, allow_unused=True)
"""


def _peak(setup: str) -> tuple[float, float]:
    """MiB on top of what a small run has left, and seconds, of `run(large)` in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        raise Skip("the peak of a process can be reset on Linux only")
    told = _output(["-c", PEAK.format(setup=setup)])
    megabytes, seconds = told.rpartition("peak ")[2].split()
    return max(float(megabytes), 1.0), float(seconds)  # below, pages of the allocator are what is measured


def _output(arguments: list[str]) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def _curve(setup: str, sizes: list[int], unit: str, **more: bool) -> tuple[dict[str, float], list[float], str]:
    """Seconds by size, MiB by size, and the latter as text."""
    results = {f"{size} {unit}": _peak(setup.format(size=size, **more)) for size in sizes}
    told = ", ".join(f"{name} {peak:.0f} MiB" for name, (peak, _) in results.items())
    return {name: seconds for name, (_, seconds) in results.items()}, [peak for peak, _ in results.values()], told


@row("peak memory of measure, 6 layers, 16 channels, 64x64")
def peak_of_measure() -> Result:
    """What a process takes on top of a small measurement; the budget of a chunk is 256 MiB a thread."""
    seconds, peaks, told = _curve(MEASURE, [128, 512, 2048], "draws")
    return Result(seconds, [at_most(2, "times the budget of 256 MiB, at 2048 draws", peaks[-1] / 256)], [told])


@row("peak memory of path_counts, ResNet-50 with channels")
def peak_of_counts() -> Result:
    """Python ints of 450 bits, one for every cell; half of them are shared, since the map equals its transpose."""
    sizes = [224, 448, 896]
    seconds, peaks, told = _curve(COUNTS, sizes, "cells a side")
    cells = [size**2 for size in sizes]
    per_cell = peaks[-1] * 2**20 / cells[-1]
    claims = [at_most(1.1, "exponent of the memory in positions", exponent(cells, peaks))]
    return Result(seconds, claims, [told, f"{per_cell:.0f} bytes a cell at 896"])


@row("peak memory of predict, ResNet-50")
def peak_of_predict() -> Result:
    """Float64 maps."""
    sizes = [224, 448, 896]
    seconds, peaks, told = _curve(PREDICT, sizes, "cells a side")
    cells = [size**2 for size in sizes]
    claims = [at_most(1.1, "exponent of the memory in positions", exponent(cells, peaks))]
    return Result(seconds, claims, [told, f"{peaks[-1] * 2**20 / cells[-1]:.0f} bytes a cell at 896"])


@row("peak memory of a training step, ResNet-18, 32x32")
def peak_of_step() -> Result:
    """A plain step, and one with a penalty after it: the second must let go of the first's activations."""
    batches = [16, 64]
    plain, without, told = _curve(STEP, batches, "images", penalised=False)
    penalised, with_penalty, told_too = _curve(STEP, batches, "images", penalised=True)
    seconds = {f"plain, {name}": s for name, s in plain.items()} | {f"penalised, {name}": s for name, s in penalised.items()}
    claims = [
        at_most(1.1, "exponent of the memory in the batch, penalised", exponent(batches, with_penalty)),
        at_most(2.5, "penalised / plain memory, 64 images", with_penalty[-1] / without[-1]),
    ]
    return Result(seconds, claims, [f"plain: {told}", f"penalised: {told_too}"])

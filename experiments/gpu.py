"""What a GPU changes: `make gpu` measures throughput, the penalty's cost and memory, and writes docs/gpu.md.

Under ten minutes. Without a device it says so, and leaves the page as it is.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from validation.training.models import build
from validation.training.penalty import Objective, Penalty

DOCS = Path(__file__).parents[1] / "docs"
WARM, MEASURED = 3, 10
CASES = {"resnet18-cifar": (3, 32, 128), "resnet50-cifar": (3, 32, 128), "resnet50": (3, 224, 64)}  # channels, size, batch


def seconds(step: Callable[[], None], device: str, repeats: int) -> float:
    """The median time of a step, the device's queue emptied before each clock reading."""
    times = []
    for number in range(WARM + repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if number >= WARM:
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def measured(name: str, device: str, batch: int, precision: str, repeats: int) -> tuple[float, float, float]:
    """(images a second of plain steps, cost of a penalised step in plain ones, peak memory in GiB)."""
    channels, size, _ = CASES[name]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, channels, size, size, generator=generator).to(device)
    labels = torch.randint(100, (batch,), generator=generator).to(device)
    uniforms = torch.rand(batch, generator=generator).to(device)
    penalty = Penalty("target", alpha=10.0)
    target = torch.ones(size, size)
    objective = Objective(build(name, channels, 100, seed=0), penalty, target, precision=precision).to(device)
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.01, momentum=0.9)

    def step(weight: float) -> None:
        optimiser.zero_grad(set_to_none=True)
        objective.train()
        objective(images, labels, uniforms, weight)[0].backward()
        optimiser.step()

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    plain, penalised = (seconds(lambda weight=weight: step(weight), device, repeats) for weight in (0.0, 10.0))
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    return batch / plain, penalised / plain, memory


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device: docs/gpu.md was not written", file=sys.stderr)
        return 0
    head = [
        "network",
        "precision",
        "batch",
        "images/s",
        "images/s on the CPU",
        "a penalised step, in plain ones",
        "peak memory (GiB)",
    ]
    lines = [head, ["---"] * len(head)]
    for name, (_, _, batch) in CASES.items():
        on_cpu, _, _ = measured(name, "cpu", 8, "float32", 2)
        for precision in ("float32", "bfloat16"):
            speed, cost, memory = measured(name, "cuda", batch, precision, MEASURED)
            lines.append([name, precision, str(batch), f"{speed:.0f}", f"{on_cpu:.1f}", f"{cost:.2f}", f"{memory:.1f}"])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    (DOCS / "gpu.md").write_text(
        f"# On a GPU\n\nMade by `make gpu` on {when}: {torch.cuda.get_device_name()}, torch {torch.__version__}, a CPU with "
        f"{torch.get_num_threads()} threads beside it.\n\n{table}\n\nA plain step is forward, backward and update; a penalised "
        "one has the penalty besides, as every tenth step of a run does. Medians.\n",
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

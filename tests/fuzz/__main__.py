"""`python -m tests.fuzz [NAME ...] --seconds N`: coverage-guided fuzzing by atheris, N seconds an entry; see `make fuzz`.

Every entry runs in a process of its own. What breaks it stays in `fuzz-found/NAME-*`; `--replay FILE NAME` runs it again.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("models", "arguments", "recipes", "runs", "estimates", "archives")
PACKAGES = ["lattice", "landscape", "validation"]
OTHERS = ("sympy", "scipy.stats", "scipy.optimize", "scipy.ndimage", "torch.export", "torchvision", "tyro", "safetensors.torch")


def fuzz(name: str, seconds: int, found: Path) -> None:
    """Fuzz one entry in this process; libFuzzer ends it."""
    import atheris

    for module in OTHERS:  # the hook is slow, and what others wrote is not instrumented
        importlib.import_module(module)
    with atheris.instrument_imports(include=PACKAGES):
        for module in (
            "landscape",
            "validation.training.loop",
            "validation.evaluation.summaries.report",
            "validation.__main__",
        ):
            importlib.import_module(module)
        from tests.fuzz.entry_points import ENTRY_POINTS
    entry = ENTRY_POINTS[name]
    for seed in entry.seeds():  # lazy imports happen here, before anything is watched for time
        try:
            entry.enter(seed)
        except Exception as error:
            print(f"warming up: {error!r}")
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(entry.seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=4096", "-timeout=20", "-seed=1"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={found}/{name}-", corpus], entry.enter)
        atheris.Fuzz()


def main() -> int:
    """Run the entry points one after another and print how many inputs each one took; 1 if any broke, 2 without atheris."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=600, help="of each entry (default 600: an hour in all)")
    parser.add_argument("--replay", type=Path, help="run one file through the named entry")
    parser.add_argument("--here", action="store_true", help="in this process")
    asked = parser.parse_args()
    names, found = asked.names or NAMES, Path("fuzz-found")
    if set(names) - set(NAMES) or asked.seconds < 1:
        parser.error(f"entry points are {', '.join(NAMES)}; seconds 1 at least")
    if asked.replay:
        from tests.fuzz.entry_points import ENTRY_POINTS

        ENTRY_POINTS[names[0]].enter(asked.replay.read_bytes())
        return 0
    try:
        importlib.import_module("atheris")
    except ImportError:
        print("make fuzz needs atheris (Python 3.11 or 3.12, Linux or macOS): pip install atheris", file=sys.stderr)
        return 2
    found.mkdir(exist_ok=True)
    if asked.here:
        fuzz(names[0], asked.seconds, found)
    broken = 0
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seconds", str(asked.seconds)]
        began = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        inputs = ["0", *re.findall(r"^(?:#|Done )(\d+)\b", ended.stderr, re.MULTILINE)][-1]
        verdict = f"BROKEN (exit {ended.returncode})" if ended.returncode else "nothing found"
        print(f"{name}: {inputs} inputs in {time.monotonic() - began:.0f} s, {verdict}", flush=True)
        if ended.returncode:
            broken = 1
            print("\n".join((ended.stdout + ended.stderr).splitlines()[-40:]), flush=True)
    if found.is_dir() and not any(found.iterdir()):
        found.rmdir()
    return broken


if __name__ == "__main__":
    sys.exit(main())

"""Run the speed table: `python -m benchmarks` writes results.md and results.json beside this file."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads would be timed too; before anything loads OpenMP

import json
import sys
from pathlib import Path

from benchmarks import counts, curves, fields, montecarlo, startup, sweeps, training  # noqa: F401 - importing a module enters its rows
from benchmarks.report import as_json, circumstances, duration, markdown, missed_claims
from benchmarks.rows import ROWS, Result, Skip


def main(names: list[str]) -> int:
    """Run the rows that are named, or all; returns the number of missed aims."""
    about = circumstances()
    chosen = {name: row for name, row in ROWS.items() if not names or any(part in name for part in names)}
    if not chosen:
        sys.exit(f"no row's name contains {' or '.join(names)}; the rows are:\n  " + "\n  ".join(ROWS))
    outcomes: dict[str, Result | str] = {}
    for name, row in chosen.items():
        try:
            outcomes[name] = outcome = row()
        except Skip as why:
            outcomes[name] = str(why)
            print(f"{name}: skipped, {why}", flush=True)
        else:
            print(f"{name}: " + ", ".join(f"{way} {duration(s)}" for way, s in outcome.seconds.items()), flush=True)
    if not names:
        here = Path(__file__).parent
        (here / "results.md").write_text(markdown(about, outcomes))
        (here / "results.json").write_text(json.dumps(as_json(about, outcomes), indent=2) + "\n")
    missed = missed_claims(outcomes)
    print("missed aims:", *(missed or ["none"]), sep="\n  ")
    return len(missed)


if __name__ == "__main__":
    main(sys.argv[1:])

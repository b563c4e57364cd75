"""The results as text: a table in Markdown, and the same numbers in JSON."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.rows import Claim, Result

PARTS = ("numpy", "scipy", "sympy", "networkx", "python-flint", "torch", "torchvision")


def circumstances() -> dict[str, Any]:
    """Machine, versions, date and command of this run."""
    versions = {"python": platform.python_version()}
    for part in PARTS:
        try:
            versions[part] = version(part)
        except PackageNotFoundError:
            versions[part] = "not installed"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "gpu": _gpu(),
        "load average at the start": load,
        "versions": versions,
    }


def _gpu() -> str | None:
    """The name of the GPU that torch sees."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    names = [line for line in described.read_text().splitlines() if line.startswith("model name")] if described.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def markdown(about: Mapping[str, Any], outcomes: Mapping[str, Result | str]) -> str:
    """The table, what was missed, and the circumstances; an outcome that is a text says why the row was skipped."""
    versions = ", ".join(f"{part} {number}" for part, number in about["versions"].items())
    lines = ["# Benchmarks", "", f"`{about['command']}` on {about['date']}.", ""]
    machine = ", ".join(part for part in (about["machine"], about["gpu"]) if part)
    lines += [f"{machine}; load average {about['load average at the start']} at the start. {versions}.", ""]
    lines += ["Times are the least of several rounds; in each round all ways of a row run in turn.", ""]
    if about["gpu"] is None:
        lines += ["There was no GPU: what needs one was skipped.", ""]
    lines += ["| row | times | measured | aim | |", "|---|---|---|---|---|"]
    for name, outcome in outcomes.items():
        if isinstance(outcome, str):
            lines.append(f"| {name} | skipped: {outcome} | | | |")
            continue
        times = ", ".join(f"{way} {duration(seconds)}" for way, seconds in outcome.seconds.items())
        for index, claim in enumerate(outcome.claims):
            cells = (name, times) if index == 0 else ("", "")
            lines.append(f"| {' | '.join(cells)} | {claim.measured:.3g} {claim.what} | {_aim(claim)} | {_verdict(claim)} |")
    missed = missed_claims(outcomes)
    lines += ["", f"Missed aims: {'; '.join(missed) if missed else 'none'}.", ""]
    for name, outcome in outcomes.items():
        if isinstance(outcome, Result) and outcome.notes:
            lines.append(f"- {name}: {'; '.join(outcome.notes)}.")
    return "\n".join(lines).rstrip() + "\n"


def missed_claims(outcomes: Mapping[str, Result | str]) -> list[str]:
    """One line for each aim that was not reached."""
    return [
        f"{name}: {claim.measured:.3g} {claim.what} ({_aim(claim)})"
        for name, outcome in outcomes.items()
        if isinstance(outcome, Result)
        for claim in outcome.claims
        if not claim.met
    ]


def as_json(about: Mapping[str, Any], outcomes: Mapping[str, Result | str]) -> dict[str, Any]:
    """The same as plain data."""
    rows = {
        name: {"skipped": outcome}
        if isinstance(outcome, str)
        else {
            "seconds": dict(outcome.seconds),
            "claims": [{**asdict(claim), "met": claim.met} for claim in outcome.claims],
            "notes": outcome.notes,
        }
        for name, outcome in outcomes.items()
    }
    return {**about, "rows": rows}


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _aim(claim: Claim) -> str:
    return f"at {'least' if claim.least else 'most'} {claim.aim:g}"


def _verdict(claim: Claim) -> str:
    return "met" if claim.met else "**missed**"

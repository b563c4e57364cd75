"""The versions that a number depends on, and when and by which commit something was made."""

import json
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from lattice.version import __version__

__all__ = ["commit", "made_now", "versions"]

ROOT = Path(__file__).parents[2]


def versions() -> dict[str, str]:
    """The versions that a number depends on."""
    return {
        "pilcro": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }


def made_now() -> dict[str, str]:
    """Today's date, the versions and, where it is known, the commit of pilcro that runs."""
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), **versions(), "commit": commit()}


def commit() -> str:
    """The commit of pilcro that runs, "" where it is not known; with "+" where files differ from it.

    Of a clone, asked of git; of what pip installed from a repository, the one that pip noted.
    """
    git = shutil.which("git")
    # a repository of the user's, in which pilcro is only installed, says nothing about pilcro
    if git is not None and (ROOT / ".git").exists():
        command = [git, "-C", str(ROOT), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - git, with fixed words
        return told.stdout.strip() if told.returncode == 0 else ""
    try:
        noted = metadata.distribution("pilcro").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
    return str(json.loads(noted or "{}").get("vcs_info", {}).get("commit_id", ""))[:10]

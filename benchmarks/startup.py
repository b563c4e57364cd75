"""Rows on start-up: what a user waits for before anything is computed, against `import numpy` alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.rows import Result, at_most, row, side_by_side

HERE = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}


def process(*arguments: str) -> Callable[[], object]:
    """A Python process of its own."""
    return lambda: subprocess.run([sys.executable, *arguments], env=HERE, capture_output=True, check=True)


@row("start-up of the command and of the packages")
def startup() -> Result:
    """Help and counting load neither torch nor scipy nor sympy; tests/test_startup.py lists what they load."""
    ways = {
        "import numpy": process("-c", "import numpy"),
        "import lattice": process("-c", "import lattice"),
        "pilcro --help": process("-m", "pilcro", "--help"),
        "pilcro paths": process("-m", "pilcro", "paths"),
    }
    seconds = side_by_side(ways, seconds=15)
    aims = {"import lattice": 3, "pilcro --help": 5, "pilcro paths": 5}
    return Result(
        seconds,
        [at_most(aim, f"{name} / import numpy", seconds[name] / seconds["import numpy"]) for name, aim in aims.items()],
    )

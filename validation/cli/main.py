"""The command line: `pilcro map`, `erf`, `halo`, `advise`, `paths`, `study`, `train`, `reproduce` and what reads their runs.

`tables`, `figures` and `evaluate` read run folders. All commands take `--json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from lattice import PilcroError
from validation.cli.commands.advise import Advise
from validation.cli.commands.map import Map
from validation.cli.commands.paths import Paths

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 with a one-paragraph message for a request that cannot be met."""
    try:
        import tyro
    except ImportError:
        print("the command line needs tyro and tqdm: pip install 'pilcro[cli]'", file=sys.stderr)
        return 2
    from validation.cli.commands.erf import Erf
    from validation.cli.commands.evaluate import Evaluate
    from validation.cli.commands.figures import Figures
    from validation.cli.commands.halo import Halo
    from validation.cli.commands.reproduce import Reproduce
    from validation.cli.commands.study import Study
    from validation.cli.commands.tables import Tables
    from validation.cli.commands.train import Train

    commands: dict[str, Any] = {"map": Map, "erf": Erf, "halo": Halo, "advise": Advise, "paths": Paths, "study": Study}
    commands |= {"train": Train, "reproduce": Reproduce, "tables": Tables, "figures": Figures, "evaluate": Evaluate}
    required_first = (tyro.conf.PositionalRequiredArgs,)
    command: Any = tyro.extras.subcommand_cli_from_dict(commands, args=arguments, prog="pilcro", config=required_first)
    try:
        result = command.run()
    except (PilcroError, OSError) as error:
        print(f"pilcro: {error}", file=sys.stderr)
        return 2
    if command.json and result:  # nothing from torchrun's other processes
        print(json.dumps(result))
    return 0

"""The command line, `pilcro COMMAND`: one file a command in `validation/cli/commands/`. All take `--json`.

What a command computes with is imported when it runs: the help must not wait for torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from lattice.errors import PilcroError
from lattice.lazy import to_install
from lattice.version import __version__
from validation.cli.commands.networks.advise import Advise
from validation.cli.commands.networks.erf import Erf
from validation.cli.commands.networks.fields import Fields
from validation.cli.commands.networks.halo import Halo
from validation.cli.commands.networks.map import Map
from validation.cli.commands.networks.paths import Paths
from validation.cli.commands.networks.study import Study
from validation.cli.commands.runs.evaluate import Evaluate
from validation.cli.commands.runs.figures import Figures
from validation.cli.commands.runs.reproduce import Reproduce
from validation.cli.commands.runs.tables import Tables
from validation.cli.commands.runs.train import Train

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, Any] = {
    "map": Map,
    "erf": Erf,
    "halo": Halo,
    "fields": Fields,
    "advise": Advise,
    "paths": Paths,
    "study": Study,
    "train": Train,
    "reproduce": Reproduce,
    "tables": Tables,
    "figures": Figures,
    "evaluate": Evaluate,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 with a one-paragraph message for a request that cannot be met."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["--version"]:
        print(f"pilcro {__version__}")
        return 0
    try:
        import tyro
    except ImportError:
        print(f"the command line needs tyro and tqdm: {to_install('cli')}", file=sys.stderr)
        return 2
    command: Any = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        args=arguments,
        prog="pilcro",
        description="Where a convolutional network looks before it has seen an image. `pilcro --version` prints the version.",
        config=(tyro.conf.PositionalRequiredArgs,),
    )
    try:
        result = command.run()
    except (PilcroError, OSError) as error:
        print(f"pilcro: {error}", file=sys.stderr)
        return 2
    if command.json and result:  # nothing from torchrun's other processes
        print(json.dumps(result))
    return 0

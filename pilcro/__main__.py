"""`python -m pilcro` and the installed command `pilcro`."""

import sys
from collections.abc import Sequence

from pilcro.shadows import check_packages

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """`validation.cli.main`, from a package that is known to be pilcro's own; exit status 2 and one sentence otherwise."""
    try:
        check_packages()
    except ImportError as error:
        print(f"pilcro: {error}", file=sys.stderr)
        return 2
    from validation.cli.main import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())

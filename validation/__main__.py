"""`python -m validation` and the installed command `pilcro`."""

import sys

from validation.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

"""`python -m experiments.claims`: run every check, write docs/claims.md."""

from pathlib import Path

import torch

from experiments.claims import SECTIONS
from experiments.claims.page import page
from lattice.results.files import write_bytes

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"

if __name__ == "__main__":
    torch.set_num_threads(1)
    write_bytes(PAGE, page(SECTIONS).encode())
    print(PAGE)

"""`python -m docs.claims`: run every check, write docs/claims.md."""

from pathlib import Path

import torch

from docs.claims import SECTIONS
from docs.claims.page import page
from validation.montecarlo.files import write_bytes

PAGE = Path(__file__).parents[1] / "claims.md"

if __name__ == "__main__":
    torch.set_num_threads(1)
    write_bytes(PAGE, page(SECTIONS).encode())
    print(PAGE)

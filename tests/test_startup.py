"""What is imported before there is anything to compute: no torch, no sympy, no scipy.stats."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "sympy", "networkx", "scipy", "matplotlib", "hypothesis", "PIL", "sklearn", "pandas"}
LIGHT = {"numpy", "tyro", "lattice", "landscape", "validation", "pilcro"}

COMMAND = "from pilcro.__main__ import main\ntry: main({!r})\nexcept SystemExit: pass"
PROGRAMS = {
    "import lattice": {"numpy", "lattice"},
    "import pilcro": {"pilcro"},
    "import pilcro; pilcro.__version__": {"numpy", "pilcro", "lattice"},
    COMMAND.format(["--version"]): LIGHT,
    COMMAND.format(["--help"]): LIGHT,
    COMMAND.format(["map", "--help"]): LIGHT,
    COMMAND.format(["paths"]): LIGHT,
}


def imported(program):
    """The top-level packages that a program imports, in a process of its own."""
    listing = "\nimport sys, json; print(); print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    found = subprocess.run([sys.executable, "-c", program + listing], capture_output=True, text=True, check=True)
    return set(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.replace("\n", " "))
def test_nothing_heavy_is_imported_before_it_is_needed(program):
    assert imported(program) & (HEAVY | LIGHT) <= PROGRAMS[program]


def test_an_import_of_something_heavy_is_seen():
    assert "sympy" in imported("import lattice; lattice.path_polynomial")

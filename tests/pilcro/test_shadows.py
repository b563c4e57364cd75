"""A file or folder of the user's that hides one of pilcro's packages is named, in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

import lattice
from pilcro.shadows import PACKAGES, check_packages

HOME = Path(lattice.__file__).parent.parent


def python(folder, *arguments):
    """Python in a folder, which it searches first, with pilcro behind it."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(HOME), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def hidden(folder, name, kind):
    if kind == "file":
        (folder / f"{name}.py").write_text("answer = 42\n")
        return folder / f"{name}.py"
    (folder / name).mkdir()
    if kind == "package":
        (folder / name / "__init__.py").write_text("")
    return folder / name


@pytest.mark.parametrize(("name", "kind"), [("validation", "file"), ("lattice", "package"), ("landscape", "file")])
def test_what_hides_a_package_is_named_by_the_command(tmp_path, name, kind):
    own = hidden(tmp_path, name, kind)
    found = python(tmp_path, "-m", "pilcro", "paths")
    assert found.returncode == 2
    assert found.stderr == (
        f"pilcro: {own} hides pilcro's own package {name!r}, which has the same name: rename it, "
        "or start Python in another folder\n"
    )


def test_what_hides_a_package_is_named_by_the_module(tmp_path):
    own = hidden(tmp_path, "validation", "file")
    found = python(tmp_path, "-c", "import pilcro; pilcro.measure")
    assert found.stderr.splitlines()[-1].startswith(f"ImportError: {own} hides pilcro's own package 'validation'")


def test_a_package_that_was_imported_before_is_seen_too(tmp_path):
    own = hidden(tmp_path, "validation", "file")
    found = python(tmp_path, "-c", "import sys, validation; sys.path.pop(0); import pilcro; pilcro.measure")
    assert str(own) in found.stderr.splitlines()[-1]


def test_an_empty_folder_of_that_name_hides_nothing(tmp_path):
    """A folder without `__init__.py` loses against a package further down the path."""
    hidden(tmp_path, "lattice", "folder")
    assert python(tmp_path, "-m", "pilcro", "paths").stdout == "1 5 15 30 45 51 45 30 15 5 1\n"


def test_pilcros_own_packages_pass():
    check_packages()
    with pytest.raises(ImportError, match="'numpy'"):
        check_packages([*PACKAGES, "numpy"])

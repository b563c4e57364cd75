"""`import pilcro`: a few names, each from the package that it belongs to, imported when it is asked for."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import landscape
import lattice
import pilcro
import validation
from pilcro.__main__ import main
from validation.training.loop import train

ROOT = Path(__file__).parent.parent.parent


def test_every_name_is_the_function_that_the_packages_have():
    assert (pilcro.predict, pilcro.advise) == (landscape.predict, landscape.advise)
    assert (pilcro.measure, pilcro.compare) == (validation.measure, validation.compare)
    assert pilcro.erf is validation.effective_receptive_field
    assert pilcro.train is train


def test_a_name_that_is_not_there_is_an_attribute_error_that_lists_them():
    with pytest.raises(AttributeError, match=r"no attribute .predicts.; it has .*predict, train"):
        pilcro.predicts  # noqa: B018


def test_tab_completion_offers_what_is_not_yet_imported():
    code = "import pilcro, lattice, validation; print(*dir(pilcro), *dir(lattice), *dir(validation))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {*pilcro.__all__, *lattice.__all__, *validation.__all__} <= set(names)


@pytest.mark.parametrize("package", ["pilcro", "lattice", "validation"])
def test_type_checkers_see_what_is_imported_on_demand(package):
    """The imports under TYPE_CHECKING name the same things, from the same modules."""
    module = importlib.import_module(package)
    tree = ast.parse(inspect.getsource(module))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {name.asname or name.name: (node.module, name.name) for node in block.body for name in node.names}
    assert seen
    for name in set(seen) & set(module.__all__):
        where, original = seen[name]
        assert getattr(module, name) is getattr(importlib.import_module(where), original)
    eager = {name for name in module.__all__ if name in vars(module)}
    assert set(module.__all__) <= set(seen) | eager


def test_one_version_is_written_once(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pilcro {pilcro.__version__}\n"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == pilcro.__version__
    assert f"\n## [{pilcro.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_field_of_the_metadata_stands_twice():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    config = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    metadata = re.search(r"^\[metadata\]\n(.*?)^\[", config, re.MULTILINE | re.DOTALL)[1]
    fields = set(re.findall(r"^(\w+) =", metadata, re.MULTILINE))
    assert fields == {"version"}
    assert set(project["dynamic"]) == {"version", "dependencies", "optional-dependencies", "scripts"}
    assert "python_requires" not in config
    assert project["authors"] == [{"name": "the pilcro developers"}]

"""Tests stand where the code stands: one file a module, of the same name, with names that are short claims."""

import ast
from pathlib import Path

import pytest

from tests.faults.mutants import AREAS

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
PACKAGES = ("lattice", "landscape", "validation", "experiments")
LONGEST = 69
CORE = (
    *(f"lattice/{folder}" for folder in ("network", "sweep", "counts", "geometry", "closed_forms")),
    *(f"landscape/{folder}" for folder in ("structure", "gates", "laws", "tracing", "weights")),
)
ELSEWHERE = {  # modules of these folders without a file of their own, and where they are tested
    "lattice/network/parameters.py": "tests/lattice/network/test_ops.py",
    "lattice/network/windowed_ops.py": "tests/lattice/test_against_torch.py",
    "landscape/tracing/rates.py": "tests/landscape/tracing/test_gate_counts.py",
    "landscape/structure/forward_pairs.py": "tests/landscape/gates/forward/test_mean_field.py",
    "landscape/gates/forward/covariances.py": "tests/landscape/gates/forward/test_mean_field.py",
    "landscape/gates/windows/largest.py": "tests/landscape/gates/windows/test_windows.py",
    "landscape/gates/windows/pools.py": "tests/landscape/gates/windows/test_windows.py",
    "landscape/gates/windows/rectified.py": "tests/landscape/gates/windows/test_windows.py",
    "landscape/gates/windows/winners.py": "tests/landscape/gates/windows/test_windows.py",
    "landscape/gates/forward/signal.py": "tests/landscape/gates/forward/test_mean_field.py",
    "landscape/tracing/graph/calls.py": "tests/landscape/tracing/graph/test_reader.py",
    "landscape/tracing/graph/nodes.py": "tests/landscape/tracing/graph/test_reader.py",
    "landscape/gates/gate_rates.py": "tests/landscape/gates/forward/test_mean_field.py",
    "landscape/tracing/aten/table.py": "tests/landscape/tracing/test_refused_operations.py",
    "landscape/tracing/graph/refusals.py": "tests/landscape/tracing/test_refused_operations.py",
    "landscape/tracing/graph/values.py": "tests/landscape/tracing/graph/test_reader.py",
}
SEVERAL = {  # files of tests of several modules, which stand in the folder of all of them
    "tests/landscape/gates/windows/test_no_covariance.py": "landscape/gates/windows",
    "tests/landscape/gates/windows/test_windows.py": "landscape/gates/windows",
    "tests/landscape/tracing/test_refused_operations.py": "landscape/tracing/aten",
    "tests/validation/cli/test_evaluate.py": "validation/cli/commands/runs",
    "tests/validation/datasets/test_datasets.py": "validation/datasets",
    "tests/validation/evaluation/test_evaluation.py": "validation/evaluation",
    "tests/validation/evaluation/corruptions/test_corruptions.py": "validation/evaluation/corruptions",
    "tests/validation/fields/test_field_files.py": "validation/fields",
    "tests/validation/fields/test_fields_command.py": "validation/cli/commands",
    "tests/validation/fields/test_known_fields.py": "validation/fields",
    "tests/validation/fields/test_nothing_left.py": "validation/fields",
    "tests/validation/fields/test_published_scores.py": "validation/fields",
}


def mirrored():
    """The files of tests in folders of packages, with the module that each is about."""
    for path in TESTS:
        name = path.relative_to(ROOT / "tests")
        if name.parts[0] in PACKAGES[:3] and len(name.parts) > 2:
            yield str(Path("tests") / name), name.parent / name.name.removeprefix("test_")


def test_every_file_of_tests_in_a_folder_is_about_a_module():
    assert [name for name, module in mirrored() if name not in SEVERAL and not (ROOT / module).is_file()] == []


@pytest.mark.parametrize("folder", CORE)
def test_every_module_of_the_core_has_a_file_of_tests(folder):
    have = {str(module) for _, module in mirrored()} | ELSEWHERE.keys()
    modules = [path for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"]
    assert modules
    assert [name for path in modules if (name := str(path.relative_to(ROOT))) not in have] == []


def test_the_exceptions_are_needed_and_lead_somewhere():
    about = dict(mirrored())
    for module, tests in ELSEWHERE.items():
        assert (ROOT / module).is_file()
        assert (ROOT / tests).is_file()
        assert Path(module) not in about.values()
    for tests, place in SEVERAL.items():
        assert (ROOT / tests).is_file()
        assert (ROOT / place).is_dir()
        assert not (ROOT / about[tests]).is_file()


def test_names_of_tests_are_claims_of_less_than_70_characters():
    long = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > LONGEST
    ]
    assert long == []


def test_no_two_tests_of_a_file_have_one_name():
    for path in TESTS:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
        assert len(names) == len(set(names)), path


@pytest.mark.parametrize("area", AREAS)
def test_modules_in_which_faults_are_planted_exist(area):
    assert not [file for file in AREAS[area] if not (ROOT / file).is_file()]

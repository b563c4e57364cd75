"""Bad input gets a clear error and never a plausible wrong answer; strange but valid input gets the right one.

The rows stand in `tests/bad_input/`: one table a package, and one for the command line.
"""

import signal
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import is_dataclass
from importlib import import_module

import pytest

import landscape
import lattice
import validation
from lattice import Op, PilcroError
from lattice.network import ops
from tests.bad_input import of_command_line, of_fields, of_landscape, of_lattice, of_validation
from tests.bad_input.table import same

CASES = [*of_lattice.CASES, *of_landscape.CASES, *of_validation.CASES, *of_fields.CASES, *of_command_line.CASES]
SECONDS = 60  # a request that takes longer than this hangs; the slowest row takes a few, most of it torch's import
COMMANDS = ("map", "erf", "halo", "advise", "paths", "study", "train", "reproduce", "tables", "figures", "evaluate")
AREAS = {"validation.training", "validation.evaluation"}


@contextmanager
def _no_hang():
    def stop(*_):
        pytest.fail(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_asked_for_is_refused_clearly_or_answered_rightly(case, tmp_path):
    with _no_hang():
        if case.error is None:
            assert same(case.call(tmp_path), case.gives)
            return
        with pytest.raises(case.error) as refused:
            case.call(tmp_path)
    assert case.says in str(refused.value)
    assert not (issubclass(case.error, PilcroError) and type(refused.value) is PilcroError and case.error is not PilcroError)


def test_no_two_rows_are_called_the_same():
    assert [name for name, count in Counter(map(str, CASES)).items() if count > 1] == []


def public():
    for package in (lattice, landscape, validation):
        yield from (f"{package.__name__}.{name}" for name in package.__all__)
    yield from (f"lattice.{op.__name__}" for op in vars(ops).values() if _is_op(op))
    yield from (f"pilcro {command}" for command in COMMANDS)
    yield from sorted(AREAS)


def _is_op(value):
    return isinstance(value, type) and issubclass(value, Op) and is_dataclass(value)


@pytest.mark.parametrize("name", sorted(set(public())))
def test_every_public_name_has_a_row(name):
    table = "of_command_line" if name.startswith("pilcro") else f"of_{name.split('.')[0]}"
    assert any(case.subject == name for case in CASES), (
        f"{name} is public and has no row in the battery: under {name!r}, add refused(what is bad, the call, what it says), "
        f"or answered(...) for a strange request with a right answer, to tests/bad_input/{table}.py"
    )


def is_listed(name):
    """Does a module list this name, one that its package does not export?"""
    module, _, last = name.rpartition(".")
    return last in getattr(import_module(module), "__all__", ())


def test_every_row_is_about_something_public():
    assert [name for name in sorted({case.subject for case in CASES} - set(public())) if not is_listed(name)] == []


def test_the_commands_are_those_of_the_command_line():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(of_command_line.Refused) as said:
            of_command_line.run("no-such-command")
    assert all(command in str(said.value) for command in COMMANDS)

"""Every public name says, in numpydoc's form, what it takes, what it returns and what it raises."""

import ast
import inspect
import textwrap
from enum import Enum
from functools import cached_property
from types import ModuleType

import pytest
from numpydoc.docscrape import NumpyDocString, get_doc_object
from numpydoc.validate import validate

import landscape
import lattice
import validation

PACKAGES = (lattice, landscape, validation)

# Left out: what is a matter of taste (capital letters, where the first line stands) and sections that we do not use.
CHECKS = {
    *("GL03", "GL05", "GL06", "GL07", "GL08"),  # blank lines, tabs, unknown sections, their order, a docstring at all
    *("SS01", "SS03", "SS05", "SS06"),  # one sentence on one line
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR09", "PR10"),  # parameters: all, in order, with types
    *("RT01", "RT02", "RT03", "RT05", "YD01"),  # what is returned or yielded
}
EXAMPLES = "EX01"  # asked of functions
ON_THE_COMMAND_LINE = (validation.Penalty, validation.Recipe)  # each field says what it is where it stands, for --help


def is_ours(thing):
    return (getattr(thing, "__module__", None) or "").partition(".")[0] in [package.__name__ for package in PACKAGES]


def address(thing):
    return f"{thing.__module__}.{thing.__qualname__}"


def public():
    """The functions and classes of the packages, those of the modules that they export, and the classes that these return."""
    pending = [getattr(package, name) for package in PACKAGES for name in package.__all__]
    known = {}
    while pending:
        thing = pending.pop()
        if isinstance(thing, ModuleType):
            inside = (getattr(thing, name) for name in thing.__all__)
            pending += [one for one in inside if getattr(one, "__module__", None) == thing.__name__]
        elif (inspect.isroutine(thing) or inspect.isclass(thing)) and is_ours(thing) and address(thing) not in known:
            known[address(thing)] = thing
            returned = getattr(thing, "__annotations__", {}).get("return")
            pending += [returned] if inspect.isclass(returned) else []
    return known


def members(name, thing):
    """The public methods and properties that a class defines; what it overrides is described where it comes from."""
    for member, value in vars(thing).items():
        described = any(inspect.getdoc(vars(base).get(member)) for base in thing.__mro__[1:])
        kinds = (property, cached_property, classmethod, staticmethod)
        if not member.startswith("_") and not described and (inspect.isfunction(value) or isinstance(value, kinds)):
            yield f"{name}.{member}", value if isinstance(value, property | cached_property) else getattr(thing, member)


PUBLIC = public()


def faults(name, thing, checks):
    return [f"{name}: {code} {message}" for code, message in validate(get_doc_object(thing))["errors"] if code in checks]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_documented(name):
    thing = PUBLIC[name]
    named = {"PR01"} if inspect.isclass(thing) and (issubclass(thing, Enum) or thing in ON_THE_COMMAND_LINE) else set()
    wrong = faults(name, thing, CHECKS - named if inspect.isclass(thing) else {*CHECKS, EXAMPLES})
    if inspect.isclass(thing):
        wrong += [fault for member in members(name, thing) for fault in faults(*member, CHECKS)]
    assert wrong == []


def raised(function):
    """The errors that the body of a function raises by name, but for those that a caller cannot meet."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)} - {"NotImplementedError"}


@pytest.mark.parametrize("name", sorted(name for name, thing in PUBLIC.items() if inspect.isroutine(thing)))
def test_what_a_function_raises_is_listed(name):
    listed = {entry.type for entry in NumpyDocString(inspect.getdoc(PUBLIC[name]))["Raises"]}
    assert raised(PUBLIC[name]) <= listed


def test_what_is_missing_is_seen():
    def double(value, times=1):
        """Twice the value.

        Parameters
        ----------
        value : int
            Any number.
        """
        return times * value

    assert [fault[8:12] for fault in faults("double", double, {"PR01", "RT01", EXAMPLES})] == ["PR01", "RT01", "EX01"]

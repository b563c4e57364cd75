"""Nothing that is read can run: no pickle, no eval, no loader that could, outside of the exceptions that are named here."""

import ast
from pathlib import Path

import pytest

FOLDERS = ("lattice", "landscape", "validation", "docs", "experiments", "benchmarks")
ROOT = Path(__file__).parent.parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "jsonpickle", "hickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
PARSERS = {"sympify", "S", "parse_expr", "lambdify", "literal_eval"}  # sympy evaluates text; sympify(strict=True) takes none
ATTRIBUTES = {"load_module", "exec_module", "import_module", "run_path", "run_module", "unpack_archive", "extractall"}
ATTRIBUTES |= {"read_pickle", "load_library", "LoadLibrary", "CDLL"}
USUAL_NAMES = {"torch": (None,), "numpy": (None, "np")}  # no other, so that calls of their load() are seen

EXCEPTIONS = {
    # CIFAR's batches are pickles: hashed (SHA-256) first, then read by an unpickler that makes arrays and containers only
    ("validation/datasets/cifar.py", "pickle"),
    # the user's own file.py:factory or package.module:factory, named on the command line
    ("landscape/tracing/model_names.py", "exec_module"),
    ("landscape/tracing/model_names.py", "import_module"),
    # a repository that the user fetched with torch.hub and names
    ("landscape/tracing/model_names.py", "torch.hub.load"),
    # this project's own modules, and libraries that it names itself, on demand
    ("lattice/lazy.py", "import_module"),
    ("lattice/results/values.py", "import_module"),
    # this project's own modules, and strings in their text, when the documentation is built
    ("docs/extensions/public_names.py", "import_module"),
    ("docs/extensions/public_names.py", "literal_eval"),
}


def dangers(source: str) -> list[str]:
    """The unsafe loaders that a program's text names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[0] for alias in node.names if alias.name.split(".")[0] in MODULES]
            found += [
                f"{one.name} as {one.asname}"
                for one in node.names
                if one.asname not in USUAL_NAMES.get(one.name, (one.asname,))
            ]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module.split(".")[0]] if (node.module or "").split(".")[0] in MODULES else []
            found += [alias.name for alias in node.names if alias.name in CALLS | PARSERS | ATTRIBUTES]
            found += [alias.name for alias in node.names if node.module in USUAL_NAMES and alias.name == "load"]
        elif isinstance(node, ast.Call):
            found += _called(node)
    return found


def _called(node: ast.Call) -> list[str]:
    keywords = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if name in CALLS and (not owner or owner == "builtins"):
        return [name]
    if name in PARSERS and not (name == "sympify" and keywords.get("strict") is True):
        return [name]
    if name in ATTRIBUTES:
        return [name]
    if owner in ("torch", "torch.serialization") and name == "load" and keywords.get("weights_only") is not True:
        return ["torch.load without weights_only=True"]
    if owner in ("torch.jit", "torch.package", "torch.export", "torch.hub") and name.startswith("load"):
        return [f"{owner}.{name}"]
    if owner in ("np", "numpy") and name == "load" and keywords.get("allow_pickle") is not False:
        return ["np.load without allow_pickle=False"]
    return ["allow_pickle=True"] if keywords.get("allow_pickle") is True else []


def test_only_the_named_exceptions_load_what_could_run():
    found = {
        (path.relative_to(ROOT).as_posix(), danger)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for danger in dangers(path.read_text())
    }
    assert found == EXCEPTIONS


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import shelve",
        "import marshal",
        "from yaml import load",
        "eval('1')",
        "exec(text)",
        "__import__(name)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "import torch as t",
        "from torch import load",
        "from numpy import load as read",
        "torch.serialization.load(path)",
        "torch.jit.load(path)",
        "torch.hub.load(a, b)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.savez(path, a=a, allow_pickle=True)",
        "sympy.sympify(text)",
        "sympy.sympify(text, strict=False)",
        "sympy.S(text)",
        "sympy.lambdify(x, text)",
        "pandas.read_pickle(path)",
        "importlib.import_module(name)",
        "ctypes.CDLL(path)",
        "loader.exec_module(module)",
        "tar.extractall(folder)",
        "runpy.run_path(path)",
    ],
)
def test_the_lint_bites(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "import numpy as np",
        "import torch.nn.functional as F",
        "np.load(path, allow_pickle=False)",
        "sympy.S.One",
        "model.eval()",
        "re.compile(pattern)",
        "torch.compile(model)",
        "sympy.sympify(value, strict=True)",
        "json.loads(text)",
    ],
)
def test_the_lint_lets_pass(source):
    assert not dangers(source)

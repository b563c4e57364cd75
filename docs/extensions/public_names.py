"""Reference pages from `__all__`, so that no public name can be missing.

.. public-names:: lattice      the names of the package's `__all__`, under the comments that group them there, each group
                                with a table of what its names are
.. inner-modules:: lattice     its modules, each with its docstring and the names that the package does not export itself
"""

import ast
import importlib
import inspect
import pkgutil
import re
from types import ModuleType

from docstrings import restructured
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.nodes import nested_parse_with_titles

NO_ABBREVIATION = "".join(
    rf"(?<!\b{short})" for short in ("Eq", "Fig", "Sec", "cf", r"i\.e", r"e\.g")
)  # whose point ends nothing


def groups(package: ModuleType) -> list[tuple[str, list[str]]]:
    """[(comment, names)] of a package's `__all__`, as its source groups them; the comment is empty where there is none."""
    source = inspect.getsource(package)
    (listed,) = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__" and isinstance(node.value, ast.List)
    ]
    lines = source.splitlines()
    comments = {number: line.strip()[2:] for number, line in enumerate(lines, start=1) if line.strip().startswith("# ")}
    result: list[tuple[str, list[str]]] = []
    for name in listed.elts:
        above = [number for number in comments if listed.lineno < number < name.lineno]
        title = comments[above[-1]] if above else ""
        if not result or result[-1][0] != title:
            result.append((title, []))
        result[-1][1].append(ast.literal_eval(name))
    return result


def modules(package: ModuleType) -> list[ModuleType]:
    """All modules below a package, by name."""
    found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [importlib.import_module(name) for name in sorted(info.name for info in found if not info.ispkg)]


def entry(place: str, name: str, thing: object) -> list[str]:
    """The autodoc directive of one name."""
    if isinstance(thing, ModuleType):
        return [f"- :py:mod:`{thing.__name__}`", ""]
    if inspect.isclass(thing):
        return [f".. autoclass:: {place}.{name}", "   :members:", ""]
    kind = "autofunction" if inspect.isroutine(thing) or hasattr(thing, "__wrapped__") else "autodata"
    return [f".. {kind}:: {place}.{name}", *(["   :no-value:"] if kind == "autodata" else []), ""]


def summary(package: str, names: list[str], things: list[object]) -> list[str]:
    """A table of names and the first sentences of what they say about themselves."""
    text = [".. list-table::", "   :class: summary", "   :widths: 30 70", ""]
    for name, thing in zip(names, things, strict=True):
        target = thing.__name__ if isinstance(thing, ModuleType) else f"{package}.{name}"
        role = ":py:mod:" if isinstance(thing, ModuleType) else ":py:obj:"
        text += [f"   * - {role}`{name} <{target}>`", f"     - {first_sentence(thing)}"]
    return [*text, ""]


def first_sentence(thing: object) -> str:
    """The first sentence of a docstring, on one line."""
    data = not (
        inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, ModuleType) or hasattr(thing, "__wrapped__")
    )
    first = "" if data else (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    sentence = re.match(rf".*?{NO_ABBREVIATION}[.?!:](?=\s|$)", first)
    return " ".join(restructured([sentence[0].rstrip(":") if sentence else first])).strip()


def title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


class PublicNames(Directive):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = importlib.import_module(self.arguments[0])
        text: list[str] = []
        for comment, names in groups(package):
            text += title(comment[0].upper() + comment[1:], "-") if comment else []
            things = [getattr(package, name) for name in names]
            text += summary(package.__name__, names, things)
            for name, thing in zip(names, things, strict=True):
                text += entry(package.__name__, name, thing)
        return self.parsed(text)

    def parsed(self, text: list[str]) -> list[nodes.Node]:
        self.state.document.settings.env.note_dependency(__file__)
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(text, "public names"), node)
        return node.children


class InnerModules(PublicNames):
    def run(self) -> list[nodes.Node]:
        package = importlib.import_module(self.arguments[0])
        exported = {id(getattr(package, name)) for name in package.__all__}
        text: list[str] = []
        for module in modules(package):
            text += [*title(module.__name__, "-"), f".. automodule:: {module.__name__}"]
            # a function of the module's name hides it from `import`, and has its place in the index
            hidden = getattr(package, module.__name__.rpartition(".")[2], module) is not module
            text += ["   :no-index:", ""] if hidden else [""]
            for name in getattr(module, "__all__", ()):
                thing = getattr(module, name)
                if id(thing) not in exported and getattr(thing, "__module__", module.__name__) == module.__name__:
                    text += entry(module.__name__, name, thing)
        return self.parsed(text)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public-names", PublicNames)
    app.add_directive("inner-modules", InnerModules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

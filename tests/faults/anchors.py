"""Where a fault is planted: a function of the library, by its name, and one piece of it, by its structure.

A place is written as `stern`, `Window.cell` for a method, `pull[Add]` for the rule of a dispatched function, `LEAST_CHANCE` for
a constant of a module, `rule[linear]` for what stands under `@rule("linear")`; where several have that name, `lattice:sweep`
adds a package, a folder or a file. A piece is an expression or a statement
as Python text, in which the single capitals of `WILDCARDS` stand for anything: `X * Y` is the one product of the function,
whatever is multiplied. Neither moving a function to another file nor another layout of its lines loses a place. What
refers to names of the function is lost when these change, and then `AnchorError` says which.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["LIBRARY", "ROOT", "AnchorError", "Definition", "definition", "planted"]

ROOT = Path(__file__).parents[2]
LIBRARY = ("lattice", "landscape", "validation")
WILDCARDS = {"X", "Y", "Z"}
FORM = {"ctx", "kind", "type_comment"}  # fields that say nothing about what is computed


class AnchorError(ValueError):
    """The library has no such function, or the function no such piece, or more than one."""


@dataclass(frozen=True)
class Definition:
    """A function, method, dispatched rule or constant: where it stands and what it is."""

    file: str
    name: str
    node: ast.stmt


def planted(place: str, old: str, new: str) -> tuple[str, str]:
    """(file, faulty source): in a place the piece `old` becomes `new`, where wildcards keep what they stood for in `old`.

    `AnchorError` where the place or the piece is gone, or is not the only one.
    """
    there = definition(place)
    pattern, found = _piece(old), []
    for node in ast.walk(there.node):
        bound: dict[str, ast.AST] = {}
        if _matches(pattern, node, bound):
            found.append((node, bound))
    if len(found) != 1:
        raise AnchorError(f"{place} in {there.file} has {len(found)} pieces `{old}`, not one")
    ((node, bound),) = found
    text = (ROOT / there.file).read_text(encoding="utf-8")
    return there.file, _spliced(text, node, _Filled(bound).visit(_piece(new)))


def definition(place: str) -> Definition:
    """What a place names; `AnchorError` where that is nothing or several things."""
    stem, _, name = place.rpartition(":")
    found = [d for d in _definitions() if d.name == name and stem in ("", *Path(d.file).with_suffix("").parts)]
    if len(found) != 1:
        where = ", ".join(d.file for d in found) or "no file"
        raise AnchorError(
            f"{place} is defined in {where}; a fault needs one place, written as folder:name where several share a name"
        )
    return found[0]


@cache
def _definitions() -> tuple[Definition, ...]:
    files = [path for package in LIBRARY for path in sorted((ROOT / package).rglob("*.py"))]
    trees = [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in files]
    return tuple(Definition(file, name, node) for file, tree in trees for name, node in _named(tree))


def _named(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """The functions, methods, rules and constants of a module, with their names."""
    for node in tree.body:
        match node:
            case ast.ClassDef():
                yield from _named(node, f"{prefix}{node.name}.")
            case ast.FunctionDef():
                yield from ((prefix + name, node) for name in _rules(node) or [node.name])
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name, node


def _rules(node: ast.FunctionDef) -> list[str]:
    """`pull[Add]` under `@pull.register`, by annotation or argument; `rule[linear]` under `@rule("linear")`; else nothing."""
    names = []
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        function, arguments = (call.func, call.args) if call else (decorator, [])
        if isinstance(function, ast.Attribute) and function.attr == "register":
            types = [*arguments, node.args.args[0].annotation][0]
            names += [f"{ast.unparse(function.value)}[{name}]" for name in ast.unparse(types).split(" | ")]
        elif isinstance(function, ast.Name):
            names += [f"{function.id}[{argument.value}]" for argument in arguments if isinstance(argument, ast.Constant)]
    return names


def _piece(text: str) -> ast.AST:
    """The expression or statement that a text is."""
    (statement,) = ast.parse(text).body
    return statement.value if isinstance(statement, ast.Expr) else statement


def _matches(pattern: object, node: object, bound: dict[str, ast.AST]) -> bool:
    """Whether a node is what a pattern says; fills in what its wildcards stand for."""
    if isinstance(pattern, ast.Name) and pattern.id in WILDCARDS and isinstance(node, ast.expr):
        return _matches(bound.setdefault(pattern.id, node), node, {})
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, ast.AST):
        names = [name for name in pattern._fields if name not in FORM]
        return all(_matches(getattr(pattern, name, None), getattr(node, name, None), bound) for name in names)
    if isinstance(pattern, list):
        return len(pattern) == len(node) and all(_matches(p, n, bound) for p, n in zip(pattern, node, strict=True))
    return pattern == node


class _Filled(ast.NodeTransformer):
    def __init__(self, bound: dict[str, ast.AST]) -> None:
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.bound.get(node.id, node)


def _spliced(text: str, old: ast.AST, new: ast.AST) -> str:
    """The text with one node written anew; all else stays as it stands, to the character."""
    lines = text.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: old.lineno - 1])) + old.col_offset
    end = sum(map(len, lines[: old.end_lineno - 1])) + old.end_col_offset
    written = ast.unparse(ast.fix_missing_locations(new))
    if isinstance(new, ast.expr) and not isinstance(new, ast.Slice):
        written = f"({written})"
    whole = text.encode()
    return (whole[:start] + written.replace("\n", "\n" + " " * old.col_offset).encode() + whole[end:]).decode()

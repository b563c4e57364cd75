"""Docstrings as they are written here, made into reStructuredText: indented formulas, `names`, plain prose, and sections.

An indented block is a formula, shown as it stands; what stands in backticks is a name to link to, or code; in prose every
character means itself. Below the prose come numpydoc's sections (`Parameters`, `Returns`, `Raises`, `Examples`), in which an
indented block is the description of what stands above it; napoleon, which runs next, makes fields of them.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

PACKAGES = ("lattice", "landscape", "validation")
NAME = re.compile(r"[A-Za-z_][\w.]*")
UNDERLINE = re.compile(r"-{3,}")
PROSE = ("Examples", "Notes")  # sections that are read like what stands above them


def restructured(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText with numpydoc's sections."""
    lines = list(lines)
    headings = [number for number, below in enumerate(lines[1:]) if UNDERLINE.fullmatch(below) and lines[number].strip()]
    edges = [*headings, len(lines)]
    result = _prose(lines[: edges[0]])
    for start, stop in pairwise(edges):
        heading, line, *body = lines[start:stop]
        result += [heading, line, *(_prose(body) if heading in PROSE else _described(body)), ""]
    return result


def _described(lines: Iterable[str]) -> list[str]:
    """The entries of a section, `name : type` each, with their descriptions indented; napoleon sees to the names."""
    parts = (line.partition(" : ") if " : " in line and not line.startswith(" ") else ("", "", line) for line in lines)
    return [name + colon + (rest if rest.startswith("*") else _escaped(rest)) for name, colon, rest in parts]


def _prose(lines: Iterable[str]) -> list[str]:
    result: list[str] = []
    blocks = [list(block) for filled, block in groupby(lines, key=lambda line: bool(line.strip())) if filled]
    for block in blocks:
        result += [*_block(block), ""]
    return result


def _block(block: list[str]) -> Iterator[str]:
    first = block[0].lstrip()
    if first.startswith((">>>", "===", "..")):
        yield from block
        return
    for indented, run in groupby(block, key=lambda line: line.startswith(" ") and not first.startswith("- ")):
        if indented:
            yield from ("", "::", "", *(f"    {line}" for line in run), "")
        else:
            yield from _escaped("\n".join(run)).splitlines()


def _escaped(prose: str) -> str:
    parts = re.split(r"(`+[^`]*`+)", prose)
    for position, part in enumerate(parts):
        if position % 2 == 0:
            part = re.sub(r"([\\*|])", r"\\\1", part)
            parts[position] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)
            continue
        text = part.strip("`")
        before = "\\ " if re.search(r"[\w\\]$", parts[position - 1]) else ""
        after = "\\ " if re.match(r"\w", parts[position + 1]) else ""
        parts[position] = before + (f"`{text}`" if NAME.fullmatch(text) else f"``{text}``") + after
    return "".join(parts)


def _process(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    borrowed = what == "data" and type(thing).__module__ in ("builtins", "types", "typing")  # the text is that of its type
    lines[:] = [] if borrowed else restructured(lines)


def _find(app: Sphinx, env, node, contnode):
    """A name without its package, `path_counts`, or by the module that defines it, `lattice.counts.counting.path_counts`."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    target = node["reftarget"]
    last = target.rpartition(".")[2]
    for full in [f"{package}.{target}" for package in PACKAGES] + [f"{package}.{last}" for package in PACKAGES]:
        if full in domain.objects and (full.endswith(f".{target}") or target.startswith(full.partition(".")[0] + ".")):
            found = domain.objects[full]
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, contnode, full)
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process, priority=400)  # napoleon's is 500
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

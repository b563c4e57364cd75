"""Docstrings as they are written here, made into reStructuredText: indented formulas, `names`, plain prose, numpydoc sections.

An indented block is a formula, shown as it stands; what stands in backticks is a name to link to, or code; in prose every
character means itself. `Parameters`, `Returns`, `Raises` and the like, underlined, become field lists.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from textwrap import dedent

from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

PACKAGES = ("lattice", "landscape", "validation")
NAME = re.compile(r"[A-Za-z_][\w.]*")
# section -> the fields of its entries' descriptions and types
FIELDS = {
    **dict.fromkeys(("Parameters", "Other Parameters", "Attributes"), ("param {}", "type {}")),
    **dict.fromkeys(("Returns", "Yields"), ("returns", "rtype")),
    **dict.fromkeys(("Raises", "Warns"), ("raises {}", "")),
}
RUBRICS = ("Examples", "Notes", "References", "See Also", "Warnings")


def restructured(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    result: list[str] = []
    for title, section in _sections(list(lines)):
        if title in FIELDS:
            result += [*_fields(title, section), ""]
        else:
            result += [*([f".. rubric:: {title}", ""] if title else []), *_prose(section)]
    return result


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """("", what stands before) and (title, lines) of each section."""
    heads = [
        i
        for i, (line, under) in enumerate(zip(lines, lines[1:], strict=False))
        if line.strip() in (*FIELDS, *RUBRICS) and re.fullmatch(r"-{3,}", under.strip())
    ]
    yield "", lines[: heads[0]] if heads else lines
    for head, end in zip(heads, [*heads, len(lines)][1:], strict=True):
        yield lines[head].strip(), lines[head + 2 : end]


def _fields(title: str, lines: list[str]) -> Iterator[str]:
    """A section's entries, `name : type` with an indented description, as fields."""
    text, typed = FIELDS[title]
    entries: list[tuple[str, list[str]]] = []
    for line in dedent("\n".join(lines)).splitlines():
        if line and not line.startswith(" "):
            entries.append((line, []))
        elif entries:
            entries[-1][1].append(line)
    for head, described in entries:
        name, colon, kind = head.partition(" : ")
        if title in ("Returns", "Yields") and not colon:
            name, kind = "", head
        name = name.replace("*", "\\*")
        body = _prose(dedent("\n".join(described)).splitlines())
        if title in ("Returns", "Yields") and name:
            body = [f"``{name}``: {body[0] if body else ''}", *body[1:]]
        yield f":{text.format(name)}: " + "\n    ".join(body).strip()
        if kind and typed:
            yield f":{typed.format(name)}: " + "\n".join(_escaped(kind).splitlines())


def _prose(lines: Iterable[str]) -> list[str]:
    """Paragraphs, formulas and examples."""
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
    lines[:] = [] if borrowed else [part for line in restructured(lines) for part in line.split("\n")]


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
    app.connect("autodoc-process-docstring", _process)
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

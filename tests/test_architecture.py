"""The imports are as CONTRIBUTING says: one way, without cycles, and the picture of the architecture is of this code."""

import re
from pathlib import Path

import networkx as nx
import pytest

from experiments.architecture import HOOKS, PACKAGES, PICTURE, arrows, folder, imports, modules, text

ROOT = Path(__file__).parents[1]
LIBRARY = PACKAGES[:3]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TREE = re.search(r"```text\n(lattice/.*?)```", CONTRIBUTING, re.DOTALL)[1]
MOST_FILES = 10


def listed(tree=TREE):
    """The paths of a tree of folders in its order: two blanks a level, names, two blanks or more, what they are."""
    above, found = {}, []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split()
        for name in names:
            above[depth] = name.rstrip("/")
            path = "/".join(above[level] for level in range(depth + 1))
            found.append(path + "/" * name.endswith("/"))
    return found


def siblings():
    """(parent, its children in the tree's order), for every folder of the packages whose children the tree lists."""
    children = {}
    for path in listed():
        parent, _, name = path.rstrip("/").rpartition("/")
        if parent:
            children.setdefault(parent, []).append(name)
    return [(parent, names) for parent, names in children.items() if parent.split("/")[0] in LIBRARY]


def is_folder(path):
    return path.is_dir() and (path / "__init__.py").exists()


def test_every_line_of_the_tree_is_a_folder_or_a_file():
    missing = [path for path in listed() if not (ROOT / path).is_dir() and not (ROOT / f"{path}.py").is_file()]
    assert missing == []


@pytest.mark.parametrize("parent", [*LIBRARY, *(parent for parent, _ in siblings() if "/" in parent)])
def test_the_tree_lists_every_child(parent):
    """Of a folder inside a package it may list the folders alone."""
    children = [p for p in (ROOT / parent).iterdir() if p.name[:2] != "__" and (p.suffix == ".py" or is_folder(p))]
    named = set(dict(siblings())[parent])
    folders = {p.name for p in children if p.is_dir()}
    assert named == {p.stem for p in children} or ("/" in parent and named == folders)


def test_every_folder_stands_in_the_tree():
    there = [p for package in LIBRARY for p in (ROOT / package).rglob("*") if is_folder(p)]
    assert {f"{p.relative_to(ROOT)}/" for p in there} <= set(listed()), "add a line to the tree of CONTRIBUTING.md"


@pytest.mark.parametrize(("parent", "names"), siblings(), ids=[parent for parent, _ in siblings()])
def test_imports_lead_down_the_tree(parent, names):
    rank, base = {name: number for number, name in enumerate(names)}, parent.split("/")
    upward = []
    for one in imports():
        source, target = one.source.split("."), one.target.split(".")
        inside = source[: len(base)] == target[: len(base)] == base and min(len(source), len(target)) > len(base)
        if inside and not one.is_hook:
            below, above = (rank.get(names[len(base)]) for names in (source, target))
            upward += [one] if below is not None and above is not None and below > above else []
    assert upward == []


def test_packages_import_those_below_them_only():
    rank = {name: number for number, name in enumerate(PACKAGES)}
    assert [one for one in imports() if rank[one.source.split(".")[0]] < rank[one.target.split(".")[0]]] == []


def test_no_module_imports_the_public_names_of_its_own_package():
    own = [one for one in imports() if one.target == one.source.split(".")[0] and not one.is_hook]
    assert own == []


def test_modules_import_each_other_in_no_circle():
    graph = nx.DiGraph((one.source, one.target) for one in imports() if not one.is_hook)
    assert [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_folders_import_each_other_in_no_circle():
    graph = nx.DiGraph(arrows())
    assert [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_a_folder_holds_ten_files_at_most():
    held = {}
    for name, path in modules().items():
        if name.split(".")[0] in LIBRARY and path.name not in ("__init__.py", "__main__.py"):
            held.setdefault(path.parent, []).append(path.name)
    assert {str(path): len(files) for path, files in held.items() if len(files) > MOST_FILES} == {}


@pytest.mark.parametrize("section", ["What an addition touches", "What is generated"])
def test_every_path_that_contributing_names_exists(section):
    part = CONTRIBUTING.split(f"## {section}")[1].split("\n## ")[0]
    paths = [path for path in re.findall(r"`([\w./*-]+)`", part) if "/" in path]
    assert len(paths) > 8
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


def test_everything_generated_is_listed_with_its_command():
    table = CONTRIBUTING.split("## What is generated")[1].split("\n## ")[0]
    patterns = re.findall(r"`([\w./*-]+)`", "".join(line.split("|")[1] for line in table.splitlines() if line[:1] == "|"))
    listed_files = {path for pattern in patterns for path in ROOT.glob(pattern)}
    ignored = {ROOT / "docs" / "gallery.png"}  # beside what the command writes for a page
    data = {p for p in (ROOT / "docs").glob("**/*") if p.suffix in (".json", ".npz", ".pdf", ".png", ".svg", ".tex")}
    data = {p for p in data if not {"_build", "notebooks"} & set(p.parts)} - ignored
    assert data - listed_files == set()


def test_the_picture_shows_the_imports_of_this_code():
    picture = PICTURE.read_text(encoding="utf-8").replace("&gt;", ">")
    assert text() in picture, "run `make architecture` and look at docs/architecture.svg"


@pytest.fixture
def small(tmp_path):
    """Three packages of which one imports late and one draws itself."""
    files = {
        "lattice/low/a.py": "def plot():\n    from lattice.high.b import draw\n    return draw\n",
        "lattice/high/b.py": "from lattice.low import a\ndef draw():\n    import landscape.c\n",
        "landscape/c.py": "from lattice import low\nfrom lattice.low.a import plot\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for parent in ("lattice", "lattice/low", "lattice/high", "landscape"):
        (tmp_path / parent / "__init__.py").write_text("")
    return tmp_path


def test_late_imports_count_and_display_hooks_do_not(small):
    assert {(one.source, one.target, one.function) for one in imports(small)} == {
        ("lattice.low.a", "lattice.high.b", "plot"),
        ("lattice.high.b", "lattice.low.a", None),
        ("lattice.high.b", "landscape.c", "draw"),
        ("landscape.c", "lattice.low", None),
        ("landscape.c", "lattice.low.a", None),
    }
    assert arrows(small) == [
        ("landscape.c", "lattice.low"),
        ("lattice.high", "landscape.c"),
        ("lattice.high", "lattice.low"),
    ]
    assert folder("landscape.tracing.aten.layers") == "landscape.tracing"
    assert "plot" in HOOKS

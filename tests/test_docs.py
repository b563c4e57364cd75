"""The documentation says what is there: links lead somewhere, the functions and tests it names exist, the site builds."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lattice.version import __version__

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    path for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))] if "_build" not in path.parts
]
TEXTS = [path for path in PAGES if path.parent.name in ("theory", "howto")]

PACKAGES = ("lattice", "landscape", "validation")


@pytest.fixture
def extension(monkeypatch):
    """A module of docs/extensions, by name."""
    monkeypatch.syspath_prepend(DOCS / "extensions")
    return importlib.import_module


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(path):
    """A page without its fenced code."""
    return re.sub(r"^(```+|~~~+).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path):
    """The anchors of a page's headings, as GitHub and MyST make them, and those that it sets itself."""
    headings = re.findall(r"^#+ +(.*?)\s*$", prose(path), flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def broken_links(path):
    broken = []
    for target in re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_internal_link_leads_somewhere(path):
    assert broken_links(path) == []


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One `thing`\n[a](#one-thing) [b](#two) [c](none.md) ![d](page.md)\n```\n[e](in-code.md)\n```\n")
    assert broken_links(page) == ["#two", "none.md"]


def test_every_picture_is_shown_by_a_page():
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = [path for suffix in ("png", "svg", "pdf") for path in DOCS.rglob(f"*.{suffix}") if "_build" not in path.parts]
    folders = {DOCS / folder for folder in re.findall(r"\{network-gallery\} \S+ (\S+)", shown)}
    unseen = [path for path in pictures if f"{path.name})" not in shown and path.parent not in folders]
    assert [str(path) for path in unseen if path.name != "gallery.png"] == []


def too_wide(text, most=88):
    """Lines of a page's code, or of a docstring's examples, that are wider than a column of the site."""
    fenced = re.findall(r"^```+[^\n]*\n(.*?)^```+", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += [line.strip() for line in text.splitlines() if re.match(r"\s*(>>>|\.\.\.) ", line)]
    return [line for line in lines if len(line) > most]


@pytest.mark.parametrize("path", [page for page in PAGES if page.is_relative_to(DOCS)], ids=name_of)
def test_code_on_a_page_is_at_most_88_columns_wide(path):
    assert too_wide(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_examples_in_docstrings_are_at_most_88_columns_wide(package):
    wide = {name_of(path): too_wide(path.read_text(encoding="utf-8")) for path in (ROOT / package).rglob("*.py")}
    assert {path: lines for path, lines in wide.items() if lines} == {}


def test_an_example_that_is_too_wide_is_seen(tmp_path):
    wide = "x" * 89
    assert too_wide(f"```sh\n{wide}\n```\n{wide}\n>>> {wide}\n") == [wide, f">>> {wide}"]


def test_every_notebook_has_a_card_with_its_closing_figure(extension):
    pytest.importorskip("sphinx")
    nbformat = pytest.importorskip("nbformat")
    cards = extension("notebook_gallery")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        title, sentence = cards.said(notebook)
        assert title
        assert len(sentence) > 20
        assert "](" not in sentence  # no badge
        assert cards.thumbnail(cards.last_figure(notebook)).startswith("data:image/png;base64,")


def resolved(dotted):
    """What a dotted name stands for."""
    parts = dotted.split(".")
    for split in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:split]))
        except ImportError:
            continue
        for part in parts[split:]:
            thing = getattr(thing, part)
        return thing
    raise AttributeError(dotted)


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_function_that_a_page_names_exists(path):
    for dotted in re.findall(r"\{py:\w+\}`~?([\w.]+)`", path.read_text(encoding="utf-8")):
        assert resolved(dotted) is not None


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_test_that_a_page_names_exists(path):
    for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text(encoding="utf-8")):
        source = (ROOT / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in source, f"{file} has no {test}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_says_what_it_is(package):
    module = importlib.import_module(package)
    silent = [name for name in module.__all__ if not inspect.getdoc(getattr(module, name))]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_lists_every_public_name_once(package, extension):
    pytest.importorskip("sphinx")
    module = importlib.import_module(package)
    listed = [name for _, names in extension("public_names").groups(module) for name in names]
    assert sorted(listed) == sorted(module.__all__)


def test_a_summary_is_the_whole_first_sentence(extension):
    pytest.importorskip("sphinx")

    def thing():
        """A sum (Proposition 1, Eq. 8), e.g. of paths. Another sentence."""

    assert extension("public_names").first_sentence(thing) == "A sum (Proposition 1, Eq. 8), e.g. of paths."


def test_the_command_line_page_asks_every_command(extension):
    pytest.importorskip("sphinx")
    pages = extension("command_line")
    found = pages.commands()
    assert {"map", "advise", "paths", "train", "evaluate"} <= set(found)
    for command in found:
        assert f"usage: pilcro {command}" in pages.help_of(command)


def test_docstrings_keep_their_formulas_and_their_characters(extension):
    pytest.importorskip("sphinx")
    written = ["sum_i |a_(n-1)| * b_", "", "    x_i = a_ * |b|", "", "`Conv` and `h + h`, `Unit`s."]
    assert extension("docstrings").restructured(written) == [
        "sum_i \\|a\\_(n-1)\\| \\* b\\_", "", "", "::", "", "        x_i = a_ * |b|", "", "",
        "`Conv` and ``h + h``, `Unit`\\ s.", "",
    ]  # fmt: skip


def test_sections_of_docstrings_stay_sections(extension):
    pytest.importorskip("sphinx")
    written = [
        "One.",
        "",
        "Parameters",
        "----------",
        "x : ndarray, shape (n, *m)",
        "    Any `Unit` * 2.",
        "",
        "Examples",
        "--------",
    ]
    assert extension("docstrings").restructured([*written, ">>> 1 * 2"]) == [
        "One.", "", "Parameters", "----------", "x : ndarray, shape (n, \\*m)", "    Any `Unit` \\* 2.", "", "",
        "Examples", "--------", ">>> 1 * 2", "", "",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_documents_every_public_name(tmp_path):
    for needed in ("furo", "myst_nb", "sphinx_design", "sphinx_copybutton", "latex2mathml"):
        pytest.importorskip(needed)
    from sphinx.util.inventory import InventoryFile

    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-n",
        "-d",
        tmp_path / "trees",
        DOCS,
        tmp_path / "html",
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with (tmp_path / "html" / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, uri: uri)
    documented = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    for package in PACKAGES:
        public = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
        assert public <= documented, public - documented
    assert len(documented) > 300


def test_the_changelog_keeps_its_form():
    """Keep a Changelog: versions with dates, and under each kinds of changes, once each, nothing beside them."""
    kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Known limitations"]
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert versions[0].startswith("[Unreleased]\n")
    assert any(version.startswith(f"[{__version__}] - 20") for version in versions)
    for version in versions[:-1]:  # the last one was not released
        before, *sections = re.split(r"^### ", version, flags=re.MULTILINE)
        assert before.strip() == before.splitlines()[0]
        names = [section.splitlines()[0] for section in sections]
        assert names == [kind for kind in kinds if kind in names]

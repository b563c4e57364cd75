"""Every notebook runs top to bottom, still says what its committed outputs say, and keeps the common form."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from experiments.notebooks import BADGE, answers, executed, opened_on_colab, repository

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook):
    """What each code cell shows: kinds of outputs, and texts with every number masked (draws differ between machines).

    The shape that numpy 2 adds to a shortened array is left out, for numpy 1 adds none.
    """
    return [
        [(sorted(output.get("data", {})), masked(text_of(output))) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def text_of(output):
    return output.get("text", output.get("data", {}).get("text/plain", ""))


def masked(text):
    text = re.sub(r"\],\s+shape=\([\d, ]+\)", "]", text)
    return re.sub(r"\s+", " ", re.sub(r"[-+]?\d+([_,]\d+)*(\.\d+)?(e[-+]?\d+)?", "#", text)).strip()


@pytest.mark.filterwarnings("default")
@each_notebook
def test_a_notebook_runs_and_its_committed_outputs_are_those_of_this_code(path):
    assert outputs(executed(path)) == outputs(nbformat.read(path, as_version=4))


@each_notebook
def test_a_notebook_keeps_the_common_form(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].source.startswith("# ")
    assert "find_spec" in code[0].source, "the first code cell installs pilcro where it is missing (Colab)"
    assert "%pip" in code[0].source
    assert max(len(cell.source.splitlines()) for cell in code) <= 15
    assert "## What to take away" in notebook.cells[-1].source
    assert "**Try**" in notebook.cells[-1].source
    assert path.stat().st_size < 400_000
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make notebooks`"
    assert any("image/png" in output.get("data", {}) for output in code[-1].outputs), "the story ends in a figure"
    for output in (output for cell in code for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not re.search(r"/(home|root|work|tmp|usr|opt|content|Users)/", text_of(output)), "a path of some machine"


@each_notebook
def test_a_figure_stands_beside_every_slider(path):
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [any("image/png" in output.get("data", {}) for output in cell.outputs) for cell in code]
    for number, cell in enumerate(code):
        if "interact(" in cell.source:
            assert not cell.outputs, "what a slider shows lives only with its kernel"
            assert shown[number - 1] or shown[number + 1], cell.source


@each_notebook
def test_printed_lines_fit_a_narrow_page(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert max(map(len, output.get("text", "").splitlines()), default=0) <= 100, cell.source


@each_notebook
def test_a_notebook_opens_on_colab_where_there_is_an_address(path):
    notebook = nbformat.read(path, as_version=4)
    install = next(cell for cell in notebook.cells if cell.cell_type == "code")
    before = notebook.cells[0].source, install.source
    opened_on_colab(notebook, path.name, repository())
    assert (notebook.cells[0].source, install.source) == before, "run python -m experiments.notebooks"
    opened_on_colab(notebook, path.name, "https://github.com/some/one")
    link = f"(https://colab.research.google.com/github/some/one/blob/main/notebooks/{path.name})"
    assert f"{BADGE}{link}" in notebook.cells[0].source
    assert "] @ git+https://github.com/some/one" in install.source
    opened_on_colab(notebook, path.name, repository())
    assert (notebook.cells[0].source, install.source) == before


def test_two_notebooks_have_exercises_with_hidden_answers():
    found = {path.stem: answers(nbformat.read(path, as_version=4)) for path in NOTEBOOKS}
    assert sum(len(hidden) >= 2 for hidden in found.values()) >= 2
    assert all("assert" in answer for hidden in found.values() for answer in hidden)


@pytest.mark.filterwarnings("default")
def test_a_wrong_answer_is_an_error_and_leaves_no_cell(tmp_path):
    text = "<details>\n<summary>Answer</summary>\n\n```python\nassert x == {}\n```\n\n</details>"
    for name, number in (("right", 1), ("wrong", 2)):
        cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_markdown_cell(text.format(number))]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    assert len(executed(tmp_path / "right.ipynb").cells) == 2
    with pytest.raises(CellExecutionError, match="x == 2"):
        executed(tmp_path / "wrong.ipynb")


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.filterwarnings("default")
def test_a_slider_whose_function_fails_is_an_error(tmp_path):
    slider = "from ipywidgets import interact\n@interact(k=(1, 3))\ndef show(k=2):\n    assert k != 2, 'a bad knob'"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(slider)])
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    with pytest.raises(RuntimeError, match="slider fails: a bad knob"):
        executed(tmp_path / "sliders.ipynb")

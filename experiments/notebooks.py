"""Run the notebooks and keep their outputs: `make notebooks`, or `python -m experiments.notebooks 02 05` for some of them.

Kept is what reads the same after every run: neither times, nor the outputs of cells with sliders, which live only as long as
their kernel (a static figure stands beside each of them). Figures keep 256 colours, at a third of their size. The code of
answers that are hidden in the text is run too. Where pyproject.toml names the project's repository, each notebook opens on
Colab and installs pilcro from there.
"""

import re
import sys
import tomllib
from base64 import b64decode, b64encode
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from experiments.pictures import with_a_palette
from lattice.results.files import write_bytes

__all__ = ["answers", "executed", "opened_on_colab", "repository"]

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
BADGE = "[![Open in Colab](open-in-colab.svg)]"
INSTALL = """\
# Where pilcro is missing, as on Colab, this installs it; elsewhere it does nothing.
from importlib.util import find_spec

if not find_spec("lattice"):
    %pip install -q "{place}"
"""


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook as a fresh kernel leaves it, run in its own folder; raises where a cell, a slider or an answer fails."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    told = len(notebook.cells)
    notebook.cells += [nbformat.v4.new_code_cell(answer) for answer in answers(notebook)]
    client = NotebookClient(
        notebook, timeout=300, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": path.parent}}
    )  # a text that a busy kernel prints in two pieces is one text
    client.execute()
    del notebook.cells[told:]
    shown = [output for state in client.widget_state.values() for output in state.get("outputs", [])]
    for output in shown:  # widgets show errors and go on
        if output["output_type"] == "error" or output.get("name") == "stderr":
            raise RuntimeError(f"{path.name}: the function of a slider fails: {output.get('evalue') or output['text']}")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [] if any(WIDGET in output.get("data", {}) for output in cell.outputs) else cell.outputs
            for data in (output.data for output in cell.outputs if "image/png" in output.get("data", {})):
                data["image/png"] = b64encode(with_a_palette(b64decode(data["image/png"]))).decode()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    return notebook


def answers(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of the answers that are hidden in the text, in their order."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    hidden = "\n".join(re.findall(r"<details>(.*?)</details>", text, flags=re.DOTALL))
    return re.findall(r"```python\n(.*?)```", hidden, flags=re.DOTALL)


def repository() -> str:
    """The address that pyproject.toml names as the project's repository, "" where there is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project.get("urls", {}).get("Repository", "")).removesuffix(".git").rstrip("/")


def opened_on_colab(notebook: nbformat.NotebookNode, name: str, address: str) -> None:
    """Give a notebook its badge, and the cell that installs pilcro from `address`; without one from the clone, no badge."""
    first, install = notebook.cells[0], next(cell for cell in notebook.cells if cell.cell_type == "code")
    (extras,) = re.findall(r"\[([\w,]+)\]", install.source)
    text = re.sub(rf"\n*^{re.escape(BADGE)}\(.*\)$", "", first.source, flags=re.MULTILINE)
    if address:
        there = address.replace("https://github.com/", "https://colab.research.google.com/github/")
        title, _, rest = text.partition("\n")
        text = f"{title}\n\n{BADGE}({there}/blob/main/notebooks/{name})\n{rest}"
    place = f"pilcro[{extras}] @ git+{address}" if address else f"..[{extras}]"
    first.source, install.source = text, INSTALL.format(place=place).rstrip()


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) == 1 or path.name.startswith(tuple(sys.argv[1:])):
            notebook = nbformat.read(path, as_version=4)
            opened_on_colab(notebook, path.name, repository())
            nbformat.write(notebook, path)
            write_bytes(path, (nbformat.writes(executed(path)) + "\n").encode())
            print(f"notebooks/{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)

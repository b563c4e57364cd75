"""Run the notebooks and keep their outputs: `make notebooks`, or `python -m experiments.notebooks 02 05` for some of them.

Kept is what reads the same after every run: neither times, nor the outputs of cells with sliders, which live only as long as
their kernel (a static figure stands beside each of them). Figures keep 256 colours, at a third of their size.
"""

import sys
from base64 import b64decode, b64encode
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from experiments.pictures import with_a_palette
from lattice.results.files import write_bytes

FOLDER = Path(__file__).parent.parent / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook as a fresh kernel leaves it, run in its own folder; raises where a cell or a slider fails."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    client = NotebookClient(
        notebook, timeout=300, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": path.parent}}
    )  # a text that a busy kernel prints in two pieces is one text
    client.execute()
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


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) == 1 or path.name.startswith(tuple(sys.argv[1:])):
            write_bytes(path, (nbformat.writes(executed(path)) + "\n").encode())
            print(f"notebooks/{path.name}: {path.stat().st_size / 1000:.0f} kB")

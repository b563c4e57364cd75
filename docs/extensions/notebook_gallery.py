"""`notebook-gallery FOLDER`: a card for each notebook: its last figure as a thumbnail, its title, its first sentence."""

import re
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.parsers.rst import Directive
from PIL import Image
from sphinx.application import Sphinx

WIDTH, HEIGHT = 360, 200  # of a thumbnail, in pixels


def last_figure(notebook: nbformat.NotebookNode) -> bytes:
    """The PNG of the last figure that a notebook shows."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return b64decode([output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})][-1])


def thumbnail(png: bytes) -> str:
    """A picture made small, on white, as an address that holds it."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    ground = Image.new("RGB", (WIDTH, HEIGHT), "white")
    ground.paste(picture, ((WIDTH - picture.width) // 2, (HEIGHT - picture.height) // 2))
    small = BytesIO()
    ground.quantize(64).save(small, "png", optimize=True)
    return f"data:image/png;base64,{b64encode(small.getvalue()).decode()}"


def said(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """A notebook's title, and the first sentence of its text."""
    title, _, text = notebook.cells[0].source.partition("\n")
    prose = next(part for part in text.split("\n\n") if part.strip() and not part.lstrip().startswith(("[", "!")))
    plain = re.sub(r"[*`$]", "", " ".join(prose.split()))
    sentence = re.match(r".*?[.?!:](?=\s|$)", plain)
    return title.lstrip("# "), (sentence[0] if sentence else plain).rstrip(":")


class NotebookGallery(Directive):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        here = Path(env.doc2path(env.docname)).parent
        grid = nodes.container(classes=["notebook-gallery"])
        for path in sorted((here / self.arguments[0]).glob("*.ipynb")):
            env.note_dependency(str(path))
            notebook = nbformat.read(path, as_version=4)
            title, sentence = said(notebook)
            page = f"{self.arguments[0]}/{path.stem}.html"
            card = nodes.container(classes=["notebook-card"])
            picture = nodes.image(uri=thumbnail(last_figure(notebook)), alt=f"the closing figure of {title}")
            card += nodes.paragraph("", "", nodes.reference("", "", picture, refuri=page))
            card += nodes.paragraph("", "", nodes.reference("", title, refuri=page), classes=["notebook-name"])
            card += nodes.paragraph("", sentence)
            grid += card
        if not grid.children:
            raise self.error(f"{self.arguments[0]} has no notebooks")
        return [grid]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("notebook-gallery", NotebookGallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

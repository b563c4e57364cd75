"""`network-gallery TABLE FOLDER`: a card for each measured network of the gallery's table, with its map as a thumbnail."""

from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx


def measured(table: str) -> Iterator[dict[str, str]]:
    """The rows of a Markdown table that have an error, as dictionaries by column."""
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in table.splitlines() if line.startswith("|")]
    for row in rows[2:]:
        entry = dict(zip(rows[0], row, strict=False))
        if entry.get("error"):
            yield entry


def percent(number: str) -> str:
    return f"{float(number):.1%}".replace("%", " %")


class NetworkGallery(Directive):
    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        here = Path(env.doc2path(env.docname)).parent
        table, folder = here / self.arguments[0], self.arguments[1]
        env.note_dependency(str(table))
        grid = nodes.container(classes=["network-gallery"])
        for entry in measured(table.read_text(encoding="utf-8")):
            name = entry["network"]
            card = nodes.container(classes=["network-card"])
            image = nodes.image(uri=f"{folder}/{name}.png", alt=f"the predicted map of {name}")
            interval = f"{percent(entry['error low'])} to {percent(entry['error high'])}"
            numbers = nodes.paragraph("", "", nodes.strong(name, name), classes=["network-name"])
            error = nodes.paragraph("", f"map error {percent(entry['error'])} ({interval})")
            scale = nodes.paragraph("", f"scale {float(entry['scale']):.2f} ± {float(entry['scale error']):.2f}")
            card += [image, numbers, error, scale]
            grid += card
        if not grid.children:
            raise self.error(f"{table} has no row with an error; is it still the table of `pilcro study gallery`?")
        return [grid]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("network-gallery", NetworkGallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

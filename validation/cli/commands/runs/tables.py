"""`pilcro tables`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.runtime.files import beside

__all__ = ["Tables"]


@dataclass(frozen=True)
class Tables:
    """Tables 1 and 2 from run folders: scores with standard errors over repeats, in Markdown and LaTeX."""

    runs: tuple[Path, ...]
    """run folders, or folders that hold some"""
    out: Path | None = None
    """write OUT.md and OUT.tex"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Collect, write and print."""
        from lattice.results.files import write_bytes
        from validation.evaluation.runs.tables import collect, grouped, label
        from validation.evaluation.summaries.scores import scores_table
        from validation.runtime.files import checked_out

        checked_out(self.out)
        groups = grouped(collect(self.runs))
        table, files = scores_table(groups), []
        for ending, text in (("md", table.markdown()), ("tex", table.latex())):
            if self.out is not None:
                path = beside(self.out, ending)
                write_bytes(path, text.encode())
                files.append(str(path))
        if not self.json:
            print("\n".join([table.markdown(), *(f"written: {file}" for file in files)]), flush=True)
        recipes = [group.recipe for group in groups]
        names = ("top1", "top5", "tv", "loss", "asymmetry")
        rows = [
            {"run": label(g.recipe, recipes), "repeats": len(g.results), **{name: g.score(name) for name in names}}
            for g in groups
        ]
        return {"rows": rows, "files": files}

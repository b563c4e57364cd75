"""`pilcro figures`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from validation.runtime.files import beside

__all__ = ["Figures"]


@dataclass(frozen=True)
class Figures:
    """Figures 2 to 4 from run folders: landscapes before and after training, accuracy and TV epoch by epoch."""

    runs: tuple[Path, ...]
    """run folders, or folders that hold some"""
    out: Path = field(default=Path("runs"))
    """write OUT-landscapes and OUT-curves, each as .png and .pdf"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Collect and draw."""
        from validation.evaluation.runs.tables import collect, grouped
        from validation.evaluation.summaries.figures import plot_curves, plot_landscapes
        from validation.runtime.files import checked_out, write_figure

        checked_out(self.out)
        groups = grouped(collect(self.runs))
        files = []
        for name, figure in (("landscapes", plot_landscapes(groups)), ("curves", plot_curves(groups))):
            for ending in ("png", "pdf"):
                path = beside(self.out.with_name(f"{self.out.name}-{name}"), ending)
                write_figure(path, figure, dpi=120)
                files.append(str(path))
        if not self.json:
            print("\n".join(files), flush=True)
        return {"files": files}

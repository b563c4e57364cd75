"""What a notebook shows of a measurement: the map with its errors, the verdict with its numbers; on light and on dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landscape.display.html import in_words, side_by_side, table
from landscape.display.svg import Line, flat_view, lines_svg, map_svg

if TYPE_CHECKING:
    from landscape.display.svg import Array
    from validation.comparison.compare import Agreement
    from validation.gradients.empirical import EmpiricalLandscape
    from validation.montecarlo.estimate import Estimate

__all__ = ["agreement_html", "agreement_rows", "empirical_html", "estimate_html", "measured_svgs", "signed_svg"]

ORANGE = "#d55e00"  # of what is measured, as in every figure


def measured_svgs(values: Array, error: Array, label: str) -> list[str]:
    """A measured map and its standard errors: two maps, or on one axis a line with a band of two standard errors."""
    if values.ndim == 1:
        line = Line(values, "two standard errors", ORANGE, band=2 * error)
        return [lines_svg([line], label, across="input position")]
    return [map_svg(values, label), map_svg(error, f"standard error of the {label}", unit="standard error / mean")]


def signed_svg(values: Array, label: str, unit: str, most: float, *, hover: bool = False) -> str:
    """A map of differences: white at zero, its colours ending at plus and minus `most`; on one axis, a line that is not cut."""
    if flat_view(values).ndim == 1:
        top = max(most, float(np.abs(values).max())) or 1.0
        return lines_svg([Line(values)], label, across="input position", up=unit, least=-top, most=top, hover=hover)
    return map_svg(values, label, unit=unit, least=-most, most=most, colours="PuOr", hover=hover)


def estimate_html(estimate: Estimate) -> str:
    """The measured map, its standard errors, and what they rest on."""
    typical = float(np.sqrt(np.mean(np.square(estimate.relative_error))))
    rows = [
        ("draws", f"{estimate.draws}" + (" (interrupted)" if estimate.interrupted else "")),
        ("seed", f"{estimate.seed}"),
        ("error", f"{typical:.1%} a pixel"),
        ("worth", f"{estimate.effective_draws:.0f} equal draws; the heaviest one carries {estimate.largest_share:.1%}"),
        ("mode, device", f"{estimate.mode}, {estimate.device}"),
    ]
    drawings = measured_svgs(estimate.relative, estimate.relative_error, f"map measured by {estimate.draws} draws")
    return side_by_side([*drawings, table(rows)])


def agreement_rows(agreement: Agreement) -> list[tuple[str, str]]:
    """The numbers of a comparison by name."""
    low, high = agreement.error_interval
    return [
        ("map error", f"{agreement.error:.1%}, from {low:.1%} to {high:.1%} at {agreement.confidence:.0%} confidence"),
        ("tolerance", f"{agreement.tolerance:.1%}"),
        ("resolution", agreement.resolution_in_words),
        ("scale", agreement.scale_in_words.replace("+-", "±")),
        ("beyond the band", f"{len(agreement.worst)} pixels with |z| > {agreement.critical_z:.1f}"),
        ("without a path", f"{agreement.unreachable} of these pixels had a gradient"),
        ("draws", f"{agreement.draws}"),
    ]


def agreement_html(agreement: Agreement) -> str:
    """The verdict, its numbers, and z over the input positions, its colours ending at the simultaneous band."""
    verdict = in_words(agreement.verdict.name)
    words = f'<div style="font-size:13px"><b>{verdict.capitalize()}</b>: {agreement.verdict.value}</div>'
    label = f"z of measured minus predicted, {len(agreement.worst)} pixels beyond {agreement.critical_z:.1f}; {verdict}"
    return side_by_side([signed_svg(agreement.z, label, "z", agreement.critical_z), words + table(agreement_rows(agreement))])


def empirical_html(found: EmpiricalLandscape) -> str:
    """The map of means over its mean, its standard errors, and the total variation."""
    value, error, unbiased = found.total_variation()
    size = float(found.map_of_means.mean())
    rows = [
        ("images", f"{found.count}, {int(found.flat.sum())} without any gradient"),
        ("classes", found.classes),
        ("error", f"{float(np.sqrt(np.mean(np.square(found.map_of_means_error)))):.1%} a pixel"),
        ("total variation", f"{value:.3g} ± {error:.1g}; {unbiased:.3g} without the noise of the images"),
    ]
    drawings = measured_svgs(found.map_of_means / size, found.map_of_means_error / size, f"map over {found.count} images")
    return side_by_side([*drawings, table(rows)])

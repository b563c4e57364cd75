"""The page about a predicted map: functions of results that give HTML. Every name and text from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from landscape.advise import deviation_from_flat
from landscape.display.html import GUARANTEES, in_words, table
from landscape.display.svg import Line, lines_svg, map_svg, profile
from landscape.maps.findings import findings
from landscape.maps.plot import chosen_layers
from validation.report.html import ORANGE, agreement_rows, signed_svg
from validation.report.parts import (
    Tile,
    figure,
    findings_list,
    layers_table,
    lead,
    made_section,
    pair,
    scrolled,
    sizes,
    stamp,
    tiles,
)  # fmt: skip
from validation.report.style import document

if TYPE_CHECKING:
    from landscape import Advice, Landscape
    from validation.comparison.compare import Agreement
    from validation.montecarlo.estimate import Estimate

__all__ = ["FOOTER", "advice_section", "first_findings", "map_section", "render", "render_advice"]

MOST_LAYERS = 12
MOST_CHANGES = 4  # that are drawn beside the map as it is
FOOTER = "Made by pilcro: paths counted, not sampled. This page loads nothing and runs nothing."
VERDICTS = {
    "AGREE": "Prediction and measurement agree.",
    "DISAGREE": "Prediction and measurement disagree.",
    "NOT_ENOUGH_DATA": "Too few draws to tell whether prediction and measurement agree.",
}


def render(
    land: Landscape,
    estimate: Estimate | None = None,
    agreement: Agreement | None = None,
    advice: Advice | None = None,
    *,
    title: str,
    made: Mapping[str, str] | None = None,
) -> str:
    """One HTML document that needs nothing beside itself: no network, no script, no installation.

    The map with its guarantee, its profile, what it means, how it comes about layer by layer; with an `Estimate` what was
    measured, with its `Agreement` the verdict, with an `Advice` what would flatten the map. The same arguments give the
    same page. `made` says how it was made: its command, seed, versions, by name.

    >>> from landscape import predict
    >>> from lattice import families
    >>> page = render(predict(families.plain(9, depth=2)), title="two layers")
    >>> page.startswith("<!DOCTYPE html>"), page.count("<svg"), "http:" in page
    (True, 3, False)
    """
    shape = sizes(land.lattice.input_shape)
    subtitle = f"Where this network looks before it has learned anything: its importance landscape over inputs of {shape}"
    sections = [
        ("map", "The predicted map", map_section(land)),
        ("findings", "What it means", findings_list(land.report())),
    ]
    if estimate is not None:
        sections.append(("check", "The check", _check(land, estimate, agreement)))
    sections.append(("layers", "How it comes about", _layers(land)))
    if advice is not None:
        sections.append(("advice", "What would flatten it", advice_section(advice)))
    sections += [
        ("table", "The layers", layers_table(land.lattice)),
        ("made", "How this page was made", made_section(made or {})),
    ]
    return document(title, subtitle, first_findings(land), sections, FOOTER, stamp=stamp(made or {}))


def render_advice(advice: Advice, *, title: str, made: Mapping[str, str] | None = None) -> str:
    """The page of `pilcro advise --report`: the changes, the map as it is, and how to flatten it without a change.

    >>> from landscape.advise import advise
    >>> from lattice import families
    >>> page = render_advice(
    ...     advise(families.plain(12, depth=2, stride=2)), title="two strides"
    ... )
    >>> "What would flatten it" in page
    True
    """
    land = advice.before.landscape
    subtitle = f"What would make this network's importance landscape flatter, over inputs of {sizes(land.lattice.input_shape)}"
    weights = advice.reweighting
    words = (
        "<p>Each input pixel multiplied by its factor makes the map of the unchanged network flat at once; 0 is a pixel that "
        "no path leads to, which no factor helps.</p>"
    )
    drawn = map_svg(weights, "factors on the input pixels that make the map flat", unit="factor", hover=True)
    sections = [
        ("advice", "What would flatten it", advice_section(advice)),
        ("map", "The map as it is", map_section(land)),
        ("findings", "What it means", findings_list(land.report())),
        ("factors", "Factors on the input", words + pair([figure(drawn, "Factors of mean square one.")])),
        ("table", "The layers", layers_table(land.lattice)),
        ("made", "How this page was made", made_section(made or {})),
    ]
    if advice.unproductive:
        rows = "".join(f"<li>{escape(str(one))}</li>" for one in advice.unproductive)
        sections.insert(1, ("unproductive", "Layers that add no context", f"<ul>{rows}</ul>"))
    return document(title, subtitle, first_findings(land), sections, FOOTER, stamp=stamp(made or {}))


def first_findings(land: Landscape) -> str:
    """The first findings of the highest level that is reached, one of a kind."""
    kinds = {finding.name.partition(" of ")[0]: finding for finding in reversed(findings(land.report()))}
    said, told = "This map is flat:", ["every pixel counts alike."]
    for level, words in (("slight", "nearly flat."), ("clear", "not flat."), ("strong", "far from flat.")):
        found = [finding.sentence for finding in reversed(kinds.values()) if finding.level == level]
        said, told = (f"This map is {words}", found[:3]) if found else (said, told)
    return lead(said, " ".join(told))


def map_section(land: Landscape) -> str:
    """The map with its profile and its guarantee."""
    name = land.guarantee.name
    word, _, meaning = GUARANTEES[name].partition(": ")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in land.reasons)
    reasons = f"<p>Why not exact:</p><ul>{reasons}</ul>" if reasons else ""
    label = f"predicted importance map of {sizes(land.squared.shape)} positions, {in_words(name)}; {_extremes(land)}"
    caption = f"Predicted map ({in_words(name)}). 1 is a pixel of average importance."
    drawings = [figure(map_svg(land.relative, label, hover=True), caption)]
    if land.squared.ndim > 1:
        through = profile(land.relative)
        label = (
            f"profile through the middle row, from {through[0]:.2f} at one end over {through.max():.2f} to {through[-1]:.2f}"
        )
        drawn = lines_svg([Line(through)], label, hover=True)
        drawings.append(figure(drawn, "Profile through the middle of the map."))
    what = (
        "<p>The importance of a pixel is the squared gradient of the outputs in it, expected over random initial weights. "
        "It follows from the topology alone: how many paths lead from the pixel to the outputs, each with the variances of "
        "its weights.</p>"
    )
    return what + pair(drawings) + lead(f"Guarantee: {word}:", f"{meaning}.") + reasons


def _check(land: Landscape, estimate: Estimate, agreement: Agreement | None) -> str:
    predicted, measured, error = land.relative, estimate.relative, estimate.relative_error
    verdict = rows = ""
    if agreement is not None:
        low, high = agreement.error_interval
        size = f" The size: {agreement.scale_in_words.replace('+-', '±')}." if agreement.scale_is_off else ""
        resolution = agreement.resolution_in_words
        verdict = (
            f'<div class="lead"><p><strong>{VERDICTS[agreement.verdict.name]}</strong></p><p>The map error is '
            f"{agreement.error:.1%}; with {agreement.confidence:.0%} confidence it lies between {low:.1%} and {high:.1%}, and "
            f"{agreement.tolerance:.1%} was to be tolerated. {resolution[0].upper()}{resolution[1:]}.{size}</p></div>"
        )
        rows = scrolled(table(agreement_rows(agreement)))
    # both maps end at one value; differences below what was to be tolerated stay pale
    most = float(max(predicted.max(), measured.max()))
    difference = measured - predicted
    far = max(float(np.abs(difference).max()), agreement.tolerance if agreement is not None else 0.0)
    maps = [(predicted, "predicted map", "Predicted map, on the scale of the measured one.")]
    maps.append((measured, f"map measured by {estimate.draws} draws", f"Measured map, {estimate.draws} draws."))
    drawings = [figure(map_svg(values, label, most=most, hover=True), caption) for values, label, caption in maps]
    signed = signed_svg(difference, "measured minus predicted map", "difference / mean", far, hover=True)
    drawings.append(figure(signed, "Measured minus predicted."))
    if agreement is not None:
        count, bound = len(agreement.worst), agreement.critical_z
        beyond = f"{count} of {agreement.z.size} pixels beyond the simultaneous band of {bound:.1f}"
        drawing = signed_svg(agreement.z, f"z of the difference: {beyond}", "z", bound, hover=True)
        drawings.append(figure(drawing, f"The difference in standard errors: {beyond}."))
    lines = [
        Line(profile(predicted), "predicted"),
        Line(profile(measured), "measured, two standard errors", ORANGE, dashed=True, band=2 * profile(error)),
    ]
    drawn = lines_svg(lines, "predicted and measured profile through the middle", hover=True)
    drawings.append(figure(drawn, "Profiles through the middle."))
    what = f"<p>{estimate.draws} networks were initialised at random, and their squared gradients averaged.</p>"
    return what + verdict + pair(drawings) + rows


def _layers(land: Landscape) -> str:
    shown = []
    for name, relative in chosen_layers(land.layers(), MOST_LAYERS).items():
        size, away = sizes(relative.shape), f"{deviation_from_flat(relative):.1%} from flat"
        shown.append(Tile(relative, f"map at the output of layer {name}, {size} positions, {away}", name, (size, away)))
    what = (
        "<p>The same map at the output of each layer, from the network's output down to its input, on one scale; layers "
        "whose map is that of the one before are left out.</p>"
    )
    return what + tiles(shown)


def advice_section(advice: Advice) -> str:
    """The best changes on one scale, and all of them with their numbers."""
    shown = [
        Tile(change.landscape.relative, f"{change.text}: {away}", away, (change.text,))
        for change in (advice.before, *advice.changes[:MOST_CHANGES])
        for away in [f"{change.deviation:.1%} from flat"]
    ]
    rows = []
    for change in [advice.before, *advice.changes]:
        report = change.report()
        numbers = (f"{change.deviation:.1%}", f"{report.centre_bias:.2f}", f"{max(report.flip_asymmetry):.1%}")
        rows.append((*numbers, in_words(change.landscape.guarantee.name), change.text))
    head = ("from flat", "centre bias", "flips", "guarantee", "change")
    words = (
        "<p>Changes of the network that make the predicted map flatter, best first; the maps share one colour scale and are "
        "those of theory alone. A flatter map says where a network can look before training, nothing about its accuracy.</p>"
    )
    if not advice.changes:
        words += "<p>Nothing that was tried makes this map flatter.</p>"
    return words + tiles(shown) + scrolled(table(rows, head=head))


def _extremes(land: Landscape) -> str:
    return f"from {land.relative.min():.2g} to {land.relative.max():.2g} times the mean"

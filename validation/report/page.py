"""The sections of the page: functions of results that give HTML. Every name and text from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from landscape.advise import deviation_from_flat
from landscape.display.html import GUARANTEES, in_words, table
from landscape.display.svg import Line, lines_svg, map_image, map_svg, profile
from landscape.maps.findings import LEVELS, findings
from landscape.maps.plot import chosen_layers
from lattice.drawing.html import lattice_html
from validation.report.html import ORANGE, agreement_rows, signed_svg
from validation.report.style import document

if TYPE_CHECKING:
    from landscape import Advice, Landscape
    from validation.comparison.compare import Agreement
    from validation.montecarlo.estimate import Estimate

__all__ = ["render"]

MOST_LAYERS = 12
MOST_CHANGES = 4  # that are drawn beside the map as it is
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
    (True, 2, False)
    """
    sizes = _sizes(land.lattice.input_shape)
    subtitle = f"Where this network looks before it has learned anything: its importance landscape over inputs of {sizes}"
    sections = [("map", "The predicted map", _map(land)), ("findings", "What it means", _findings(land))]
    if estimate is not None:
        sections.append(("check", "The check", _check(land, estimate, agreement)))
    sections.append(("layers", "How it comes about", _layers(land)))
    if advice is not None:
        sections.append(("advice", "What would flatten it", _advice(advice)))
    sections += [("table", "The layers", _table(land)), ("made", "How this page was made", _made(made or {}))]
    footer = "Made by pilcro: paths counted, not sampled. This page loads nothing and runs nothing."
    return document(title, subtitle, _lead(land), sections, footer)


def _lead(land: Landscape) -> str:
    """The first findings of the highest level that is reached, one of a kind."""
    kinds = {finding.name.partition(" of ")[0]: finding for finding in reversed(findings(land.report()))}
    said, told = "This map is flat:", ["every pixel counts alike."]
    for level, words in (("slight", "nearly flat."), ("clear", "not flat."), ("strong", "far from flat.")):
        found = [finding.sentence for finding in reversed(kinds.values()) if finding.level == level]
        said, told = (f"This map is {words}", found[:3]) if found else (said, told)
    return f'<div class="lead"><p><strong>{said}</strong> {escape(" ".join(told))}</p></div>'


def _map(land: Landscape) -> str:
    name = land.guarantee.name
    word, _, meaning = GUARANTEES[name].partition(": ")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in land.reasons)
    reasons = f"<p>Why not exact:</p><ul>{reasons}</ul>" if reasons else ""
    warrant = f'<div class="lead"><p><strong>Guarantee: {word}</strong>: {meaning}.</p></div>{reasons}'
    label = f"predicted importance map of {_sizes(land.squared.shape)} positions, {in_words(name)}; {_extremes(land)}"
    drawings = [
        _figure(map_svg(land.relative, label), f"Predicted map ({in_words(name)}). 1 is a pixel of average importance.")
    ]
    if land.squared.ndim > 1:
        through = profile(land.relative)
        label = (
            f"profile through the middle row, from {through[0]:.2f} at one end over {through.max():.2f} to {through[-1]:.2f}"
        )
        drawings.append(_figure(lines_svg([Line(through)], label), "Profile through the middle of the map."))
    what = (
        "<p>The importance of a pixel is the squared gradient of the outputs in it, expected over random initial weights. "
        "It follows from the topology alone: how many paths lead from the pixel to the outputs, each with the variances of "
        "its weights.</p>"
    )
    return what + _pair(drawings) + warrant


def _findings(land: Landscape) -> str:
    edges = [f"{edge:.1%}".replace(".0", "") for edge, _ in LEVELS[:-1]]
    scale = "Levels: none below {}, slight below {}, clear below {} of deviation from a flat map, strong above".format(*edges)
    rows = "".join(
        f'<div><dt>{escape(f.name)}</dt><dd class="value">{escape(f.value)}</dd><dd class="level {f.level}">{f.level}</dd>'
        f'<dd class="says">{escape(f.sentence)}</dd></div>'
        for f in findings(land.report())
    )
    return f'<dl class="findings">{rows}</dl><p class="muted">{scale}; a pixel without any path is clear at least.</p>'


def _check(land: Landscape, estimate: Estimate, agreement: Agreement | None) -> str:
    predicted, measured, error = land.relative, estimate.relative, estimate.relative_error
    most = float(max(predicted.max(), measured.max()))
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
        rows = f'<div class="scroll" tabindex="0">{table(agreement_rows(agreement))}</div>'
    lines = [
        Line(profile(predicted), "predicted"),
        Line(profile(measured), "measured, two standard errors", ORANGE, dashed=True, band=2 * profile(error)),
    ]
    drawings = [
        _figure(
            map_svg(measured, f"map measured by {estimate.draws} draws", most=most), f"Measured map, {estimate.draws} draws."
        ),
        _figure(
            signed_svg(measured - predicted, "measured minus predicted map", "difference / mean"),
            "Measured minus predicted.",
        ),
        _figure(lines_svg(lines, "predicted and measured profile through the middle"), "Profiles through the middle."),
    ]
    if agreement is not None:
        beyond = (
            f"{len(agreement.worst)} of {agreement.z.size} pixels beyond the simultaneous band of {agreement.critical_z:.1f}"
        )
        drawing = signed_svg(agreement.z, f"z of the difference: {beyond}", "z", agreement.critical_z)
        drawings.append(_figure(drawing, f"The difference in standard errors: {beyond}."))
    what = f"<p>{estimate.draws} networks were initialised at random, and their squared gradients averaged.</p>"
    return what + verdict + _pair(drawings) + rows


def _layers(land: Landscape) -> str:
    tiles = []
    for name, relative in chosen_layers(land.layers(), MOST_LAYERS).items():
        size, away = _sizes(relative.shape), f"{deviation_from_flat(relative):.1%} from flat"
        picture = map_image(relative, f"map at the output of layer {name}, {size} positions, {away}")
        tiles.append(f"<figure>{picture}<figcaption><b>{escape(name)}</b><br>{size}<br>{away}</figcaption></figure>")
    what = (
        "<p>The same map at the output of each layer, from the network's output down to its input; each has its own scale, "
        "and layers whose map is that of the one before are left out.</p>"
    )
    return f'{what}<div class="tiles">{"".join(tiles)}</div>'


def _advice(advice: Advice) -> str:
    shown = [advice.before, *advice.changes[:MOST_CHANGES]]
    most = max(float(change.landscape.relative.max()) for change in shown)
    tiles = []
    for change in shown:
        away = f"{change.deviation:.1%} from flat"
        picture = map_image(change.landscape.relative, f"{change.text}: {away}", most=most)
        caption = f"<figcaption><b>{away}</b><br>{escape(change.text)}</figcaption>"
        tiles.append(f"<figure>{picture}{caption}</figure>")
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
    return f'{words}<div class="tiles">{"".join(tiles)}</div><div class="scroll" tabindex="0">{table(rows, head=head)}</div>'


def _table(land: Landscape) -> str:
    what = "<p>The network as it was counted, the input first; lines on the left are skips and branches.</p>"
    return f'{what}<div class="scroll" tabindex="0">{lattice_html(land.lattice)}</div>'


def _made(made: Mapping[str, str]) -> str:
    told = dict(made)
    command = told.pop("command", "")
    shown = f'<pre tabindex="0"><code>{escape(command)}</code></pre>' if command else ""
    rest = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    return shown + (f"<p>{escape(rest)}</p>" if rest else "")


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _pair(figures: list[str]) -> str:
    return f'<div class="pair">{"".join(figures)}</div>'


def _extremes(land: Landscape) -> str:
    return f"from {land.relative.min():.2g} to {land.relative.max():.2g} times the mean"


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))

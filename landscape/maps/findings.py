r"""The numbers of a `Report` in plain sentences, and how much each is.

Every number is turned into one relative size e that is 0 for a flat map, and the size into a word: none below 0.5 %,
slight below 5 %, clear below 20 %, strong above. A pixel without any path is never less than clear.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from landscape.maps.measures import Report, is_noise

__all__ = ["LEVELS", "Finding", "findings"]

LEVELS = ((0.005, "none"), (0.05, "slight"), (0.2, "clear"), (inf, "strong"))
AXES = {
    1: ("left and right",),
    2: ("top and bottom", "left and right"),
    3: ("front and back", "top and bottom", "left and right"),
}


@dataclass(frozen=True)
class Finding:
    """A number with its name, what it means, and how much it is: none, slight, clear or strong."""

    name: str
    value: str
    level: str
    sentence: str


def findings(report: Report) -> tuple[Finding, ...]:
    """What a report says, one finding a number; what cannot be told from the noise of counted gates is none.

    >>> import numpy as np
    >>> from landscape.maps.measures import report
    >>> first = findings(report(np.array([1.0, 2.0, 2.0, 1.0])))[0]
    >>> first.value, first.level, first.sentence
    ('2.00', 'strong', 'A pixel in the middle half of the image weighs 2.00 times as much as one outside of it.')
    """

    def error(number: Callable[[Report], float]) -> float:
        return number(report.errors) if report.errors else 0.0

    told = [_told(_centre(report), report.centre_bias - 1, error(lambda e: e.centre_bias)), _blind(report)]
    if report.gridding:
        period, value = _grid_of(report)
        told.append(_told(_grid(report), value, error(lambda e: e.gridding[period])))
    for axis, (value, sides) in enumerate(_sides(report)):
        told.append(_told(_flip(value, sides), value, error(lambda e, axis=axis: e.flip_asymmetry[axis])))  # type: ignore[misc]
    told.append(_told(_steps(report), report.total_variation**0.5, error(lambda e: e.total_variation**0.5)))
    share, area = next(iter(report.effective_area.items()))
    told.append(_told(_area(report), share - area, error(lambda e: e.effective_area[share])))
    return tuple(told)


def _told(finding: Finding, value: float, error: float) -> Finding:
    """The finding, or that there is none: the number is below twice its standard error."""
    if finding.level == "none" or not is_noise(value, error):
        return finding
    text = f"No {finding.name} beyond the noise of counted gates, which alone gives {error:.2g} here."
    return Finding(finding.name, "noise", "none", text)


def _level(size: float) -> str:
    return next(word for edge, word in LEVELS if size < edge or edge == inf)


def _centre(report: Report) -> Finding:
    bias = report.centre_bias
    if bias == inf:
        return Finding("centre bias", "infinite", "strong", "Only the middle half of the image is seen at all.")
    times = "as much as" if abs(bias - 1) < LEVELS[0][0] else f"{bias:.2f} times as much as"
    sentence = f"A pixel in the middle half of the image weighs {times} one outside of it."
    return Finding("centre bias", f"{bias:.2f}", _level(max(bias, 1 / bias if bias else inf) - 1), sentence)


def _blind(report: Report) -> Finding:
    blind, faint = report.unreachable, report.faint - report.unreachable
    if blind:
        text = f"{blind:.1%} of the pixels lie on no path: the network cannot see them, whatever it learns."
        level = "strong" if blind >= 0.05 else "clear"
    else:
        text, level = "Every pixel has a path to the output.", _level(faint)
    more = "more weigh" if blind else "of them weigh"
    text += f" {faint:.1%} {more} less than a hundredth of the mean." if faint > 0 else ""
    return Finding("blind spots", f"{blind:.1%}", level, text)


def _grid_of(report: Report) -> tuple[int, float]:
    """The period at which the map has most of a grid."""
    return max(report.gridding.items(), key=lambda item: item[1])


def _grid(report: Report) -> Finding:
    period, value = _grid_of(report)
    if value < LEVELS[0][0]:
        return Finding("gridding", f"{value:.1%}", "none", "The strides leave no grid.")
    others = ", ".join(f"{other:.1%} for {p}" for p, other in report.gridding.items() if p != period)
    text = f"By their place within cells of {period} pixels, neighbours differ by {value:.1%} of their weight: a grid"
    return Finding("gridding", f"{value:.1%}", _level(value), f"{text} ({others})." if others else f"{text}.")


def _sides(report: Report) -> list[tuple[float, str]]:
    names = AXES.get(len(report.flip_asymmetry), ())
    return [(value, names[i] if names else f"the ends of axis {i}") for i, value in enumerate(report.flip_asymmetry)]


def _flip(value: float, sides: str) -> Finding:
    name = f"asymmetry of {sides}"
    if value < LEVELS[0][0]:
        return Finding(name, f"{value:.1%}", "none", f"{sides.capitalize()} weigh the same.")
    text = f"{sides.capitalize()} do not weigh the same, by {value:.1%} of the mean: a mirrored image is seen otherwise."
    return Finding(name, f"{value:.1%}", _level(value), text)


def _steps(report: Report) -> Finding:
    step = report.total_variation**0.5
    text = f"From one pixel to the next the weight changes by {step:.1%} of its typical size."
    return Finding("total variation", f"{report.total_variation:.3g}", _level(step), text)


def _area(report: Report) -> Finding:
    share, area = next(iter(report.effective_area.items()))
    text = f"{area:.0%} of the pixels hold {share:.0%} of all weight; a flat map would need {share:.0%}."
    return Finding("effective area", f"{area:.0%}", _level(1 - area / share), text)

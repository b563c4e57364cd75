"""The order in which a message lists what cannot be read."""

from collections.abc import Iterator, Mapping

__all__ = ["told_once"]

KINDS = ("never", "replace", "")  # impossible; possible after a change of the model; all else, which is missing here


def told_once(refusals: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """(reason, places), what is impossible before what is missing; a place stands under the first kind that it has, once.

    >>> list(
    ...     told_once(
    ...         {
    ...             "aten.select: not yet: no rule": ["attention", "crop", "crop"],
    ...             "aten.softmax: never": ["attention"],
    ...         }
    ...     )
    ... )
    [('aten.softmax: never', ['attention']), ('aten.select: not yet: no rule', ['crop'])]
    """
    by_kind = {kind: [reason for reason in refusals if _kind(reason) == kind] for kind in KINDS}
    told: set[str] = set()
    for reasons in by_kind.values():
        here: set[str] = set()
        for reason in reasons:
            names = [name for name in dict.fromkeys(refusals[reason]) if name not in told]
            here.update(names)
            if names:
                yield reason, names
        told |= here


def _kind(reason: str) -> str:
    """Which kind of refusal a reason, "OPERATION: KIND: ...", states; the last one where it states none."""
    return next((kind for kind in KINDS[:-1] if f": {kind}" in reason), KINDS[-1])

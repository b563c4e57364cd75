"""The errors of pilcro: one base, and below it the kinds that a caller would tell apart."""

from html import escape

__all__ = ["AssumptionError", "IrregularLatticeError", "PilcroError", "ResourceError", "SpecificationError", "UnsupportedError"]


class PilcroError(ValueError):
    """Anything that pilcro refuses; the message restates the request, names the layer, and says what would work.

    Examples
    --------
    >>> import lattice
    >>> try:
    ...     lattice.Conv(4, kernel=0)
    ... except lattice.PilcroError as error:
    ...     print(type(error).__name__, error)
    SpecificationError Conv: kernel is 0; the least is 1
    """

    def _repr_html_(self) -> str:
        """What a notebook shows of an error that was caught: its lines, broken where the page ends."""
        return f'<pre style="white-space:pre-wrap"><b>{type(self).__name__}</b>: {escape(str(self))}</pre>'


class SpecificationError(PilcroError):
    """What was asked for does not exist: a kernel larger than its input, an index out of range, shapes that do not meet."""


class UnsupportedError(PilcroError):
    """A network contains something that has no rule here (never, not yet, or replace it by what the message names)."""


class AssumptionError(PilcroError):
    """The network breaks an assumption of the theory: tied weights, weights whose mean is not zero, NaN weights."""


class IrregularLatticeError(AssumptionError):
    """A formula for regular lattices was asked of a lattice that is not regular; the message names the layer."""


class ResourceError(PilcroError):
    """The answer is well defined and too large to produce; the message estimates it and names the cheaper call."""


def listed(names: list[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

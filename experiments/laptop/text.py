"""Parts of a page that were pages of their own."""

__all__ = ["lowered"]


def lowered(markdown: str, levels: int = 1) -> str:
    """A page's text as a part of another: its headings so many levels down.

    Examples
    --------
    >>> lowered("# One" + chr(10) + "## Two").splitlines()
    ['## One', '### Two']
    """
    return "\n".join("#" * levels + line if line.startswith("#") else line for line in markdown.split("\n"))

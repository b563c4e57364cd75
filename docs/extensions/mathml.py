"""Formulas as MathML, made when the page is built: every browser shows it, offline too, and no script is loaded."""

import html
import re
import unicodedata

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def unknown(formula: str) -> list[str]:
    """The commands of LaTeX that a MathML formula still has, since the converter does not know them."""
    return re.findall(r"\\[a-zA-Z]+", html.unescape(re.sub(r"<[^>]+>", " ", formula)))


def mathml(latex: str, display: str) -> str:
    """One formula; several lines without an environment are aligned at `&`, as MathJax would."""
    if "\\\\" in latex and "\\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    return re.sub(r'<mi mathvariant="(double-struck|bold|script)">(\w+)</mi>', _letters, convert(latex, display=display))


def _letters(styled: re.Match[str]) -> str:
    """Letters of a style as the characters that Unicode has for them: browsers ignore the attribute."""
    style, text = styled[1].upper(), styled[2]
    found = ""
    for letter in text:
        kind = f"{style} {'CAPITAL' if letter.isupper() else 'SMALL'} {letter.upper()}"
        try:
            found += unicodedata.lookup(f"MATHEMATICAL {kind}")
        except KeyError:  # the oldest ones, such as the set of the real numbers, have shorter names
            try:
                found += unicodedata.lookup(kind)
            except KeyError:
                return styled[0]
    return f"<mi>{found}</mi>"


def checked(node: nodes.Node, display: str) -> str:
    """The formula of a node, with a warning where a command of it is not known."""
    formula = mathml(node.astext(), display)
    for command in unknown(formula):
        LOG.warning("no MathML for %s", command, location=node)
    return formula


def visit_inline(self, node: nodes.math) -> None:
    self.body.append(checked(node, "inline"))
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{checked(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

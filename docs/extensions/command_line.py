"""`.. command-line::`, what `pilcro --help` and the help of each of its commands print, asked when the page is built."""

import contextlib
import io
import os
import re
from textwrap import fill

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

WIDTH = int(os.environ.get("COLUMNS", "90"))


def help_of(*command: str) -> str:
    """What `pilcro COMMAND --help` prints."""
    from validation.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main([*command, "--help"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue()).strip()
    # tyro fits its boxes to the width and leaves the description as it is
    return "\n".join(line if line[:1] in ("", " ", "╭", "│", "╰") else fill(line, WIDTH) for line in text.splitlines())


def commands() -> list[str]:
    """The names of all commands, in the order of the help."""
    found = re.search(r"\{([\w,]+)\}", help_of())
    assert found is not None, "pilcro --help lists no commands"
    return found.group(1).split(",")


class CommandLine(Directive):
    def run(self) -> list[nodes.Node]:
        self.state.document.settings.env.note_reread()  # the help is in no file that the page could depend on
        sections: list[nodes.Node] = []
        for command in [(), *((name,) for name in commands())]:
            name = " ".join(("pilcro", *command))
            section = nodes.section(ids=[name.replace(" ", "-")], names=[name])
            text = help_of(*command)
            section += [nodes.title(name, name), nodes.literal_block(text, text, language="text")]
            self.state.document.note_implicit_target(section, section)
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

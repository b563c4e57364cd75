"""The documentation site: `make docs`, or `sphinx-build -W --keep-going -n docs docs/_build/html`."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "extensions")]
os.environ["COLUMNS"] = "90"  # of the command line's help
os.environ.setdefault("MPLBACKEND", "agg")

from inventories import inventories  # noqa: E402 - it stands in docs/extensions

from lattice.version import __version__  # noqa: E402

project = "pilcro"
release = version = __version__
author = "the pilcro developers"
copyright = "the pilcro developers. MIT licence"  # noqa: A001
extensions = [
    *("myst_nb", "sphinx_design", "sphinx_copybutton"),
    *("sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx.ext.intersphinx"),
    # of docs/extensions
    *("docstrings", "public_names", "command_line", "fences", "mathml", "network_gallery", "notebook_gallery"),
]
exclude_patterns = ["_build", "zoo_check.md", "notebooks/.ipynb_checkpoints", "**/.hypothesis"]
html_theme = "furo"
html_title = f"pilcro {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["sortable.js"]
html_theme_options = {"navigation_with_keys": True}
html_math_renderer = "mathml"  # no script from elsewhere: the site works offline
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# links to what others document, from inventories that are written here: the build asks no server
intersphinx_mapping = inventories(DOCS / "_build" / "inventories")

# pages are MyST Markdown; notebooks are shown as they were committed, the tests run them
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

# `names` in docstrings link to what they name, where it is documented
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_google_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

# everything of ours that a page names must exist; what other libraries call their types is theirs
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!(lattice|landscape|validation)\.).*"),
    ("py:class", r"landscape\.input_checks\.[PR]"),  # type variables
    ("py:class", r"lattice\.sweep\.(choices\.Skip|reverse\.(State|Value))"),  # a private class, and type variables
]
suppress_warnings = ["ref.python"]  # a bare `Estimate` in a signature may be that of either package that has one

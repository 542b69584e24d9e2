"""The site, for Sphinx: `make docs`. Its navigation is in index.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # generated_pages

import generated_pages
from sphinx.application import Sphinx

import spikesight

project = "spikesight"
author = "The spikesight authors"
copyright = "the spikesight authors, Apache-2.0"
version = release = spikesight.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # as GitHub names them

# Names between single backticks are links where they are public, else code.
default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"spikesight {version}"
html_copy_source = False
html_show_sphinx = False
highlight_language = "sh"  # of blocks that name none, some of which are trees of folders
suppress_warnings = ["misc.highlighting_failure"]
pygments_style = "default"
pygments_dark_style = "github-dark"


def setup(app: Sphinx) -> None:
    """Has Sphinx read the generated parts of pages, and docstrings as they are written here."""
    app.connect("source-read", generated_pages.fill)
    app.connect("autodoc-process-docstring", generated_pages.mark_code, priority=100)

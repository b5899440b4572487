"""Sphinx: the guides, and the reference from the docstrings."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("gmpx") is None:  # not installed: the sources beside this directory
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "gmpx"
author = "The gmpx authors"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "alabaster"
html_theme_options = {"description": "Go's scheduler for Python", "page_width": "1040px"}
exclude_patterns = ["_build"]

autodoc_docstring_signature = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_use_param = False
highlight_language = "python"


def plain_text(app, what, name, obj, options, lines):
    """Our docstrings are prose: `` `x` `` means code in them, and ``*`` is a star."""
    lines[:] = [line.replace("*args", "\\*args").replace("\\**kwargs", "\\*\\*kwargs")
                if "``" not in line else line for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", plain_text)

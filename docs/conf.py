"""Settings of Sphinx: bash scripts/docs.sh builds the pages."""

import pathlib
import sys

DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_extensions")]

import get_jax  # noqa: E402

project = "get_jax"
author = copyright = "The get_jax authors"
version = release = get_jax.__version__

extensions = [
  "myst_nb",
  "sphinx.ext.autodoc",
  "sphinx.ext.napoleon",
  "sphinx_copybutton",
  # In docs/_extensions.
  "generated_pages",
  "docstrings",
]
exclude_patterns = ["_build", "_extensions"]

# Pages in Markdown. Headings have the same anchors as on a code host.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
# The outputs in the notebooks are shown; nothing is executed.
nb_execution_mode = "off"

# The reference.
default_role = "py:obj"
add_module_names = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
# Of extras that the pages can do without.
autodoc_mock_imports = ["gradio"]
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# Attributes of dataclasses are the arguments of their constructors.
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
python_maximum_signature_line_length = 80
toc_object_entries = False

html_theme = "furo"
html_title = f"get_jax {version}"
html_copy_source = False

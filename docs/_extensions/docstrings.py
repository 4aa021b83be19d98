"""Adapts docstrings and signatures to Sphinx.

The docstrings of get_jax are Google style with plain text: code in single
backticks, tables as in Markdown, and no other markup. Sphinx reads them as
reStructuredText, where other characters are markup too.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
from sphinx.application import Sphinx


def escape(line: str) -> str:
  """Returns a line in which only text in backticks is markup."""
  parts = re.split(r"(`+[^`]*`+)", line)
  # The asterisk before the name of an argument is napoleon's.
  parts[::2] = [re.sub(r"(?<!^)([*|])", r"\\\1", text) for text in parts[::2]]
  return re.sub(r"^( *)([*|])", r"\1\\\2", "".join(parts))


def with_tables(lines: list[str]) -> Iterator[str]:
  """Yields the lines with tables of Markdown as list-tables."""
  in_table = False
  for line in lines:
    cells = re.fullmatch(r"( *)\|(.*)\|", line)
    if not cells:
      in_table = False
      yield line
      continue
    indent, content = cells.groups()
    if re.fullmatch(r"[ |:-]*", content):
      continue
    if not in_table:
      in_table = True
      yield from ("", f"{indent}.. list-table::")
      yield from (f"{indent}   :header-rows: 1", "")
    for i, cell in enumerate(content.split("|")):
      yield f"{indent}   {'-' if i else '* -'} {cell.strip()}".replace(
        "   - ", "     - ", bool(i)
      )


def adapt_docstring(
  app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
  """Converts tables, and escapes other characters that are markup."""
  tables = list(with_tables(lines))
  lines[:] = [
    line if re.match(r" *(\.\. |:|[*] - )", line) else escape(line)
    for line in tables
  ]


def adapt_signature(
  app: Sphinx,
  what: str,
  name: str,
  value: Any,
  options: Any,
  signature: str | None,
  returns: str | None,
) -> tuple[str | None, str | None]:
  """Shortens a signature.

  Leaves out the two fields that Flax adds to every module, the private module
  of JAX's arrays, and the addresses of objects.
  """
  if isinstance(value, type) and issubclass(value, nn.Module) and signature:
    signature = re.sub(r", parent: .*\)$", ")", signature)
  return _short(signature), _short(returns)


def _short(text: str | None) -> str | None:
  if text is None:
    return None
  text = re.sub(r"~?\b(?:jax\.)?jaxlib\._jax\.", "", text)
  return re.sub(r"<(?:function )?(?:\w+\.)*(\w+)[^<>]*>", r"\1", text)


def skip_member(
  app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
  """Skips functions that are defaults of fields: they have another name."""
  if what == "class" and inspect.isfunction(value) and value.__name__ != name:
    return True
  return None


def setup(app: Sphinx) -> dict[str, Any]:
  """Registers the extension, before napoleon."""
  app.connect("autodoc-process-docstring", adapt_docstring, priority=400)
  app.connect("autodoc-process-signature", adapt_signature)
  app.connect("autodoc-skip-member", skip_member)
  return {"parallel_read_safe": True}

"""Writes docs/config.md from the table of config keys.

python scripts/list_config_keys.py
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from get_jax.builders.config_check import model_keys, setting_keys
from get_jax.builders.config_keys import (
  LATENTS,
  LATENTS_CAPTIONS,
  OPTIONAL_SECTIONS,
  SECTIONS,
  TOP,
)
from get_jax.builders.schema import Keys
from get_jax.data.sources import SOURCES
from get_jax.diffusion import PROCESSES, SAMPLERS
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.objectives import OBJECTIVES
from get_jax.models.registry import FAMILIES

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "config.md"
INTRODUCTION = """\
# Config keys

A config is a Python file with a function `get_config()` that returns an
`ml_collections.ConfigDict`. `configs/common.py` has all keys that every config
needs; the files in `configs/` change some of them, and the command line any:
`--config.batch_size=64`.

Every key is checked before any work starts. An unknown or missing key, a wrong
type, a value out of range and two values that contradict each other end with
one sentence and exit code 2.

Sections with a `name` (`model`, `data`, `process`, `sampler`) have the settings
of what they name, also those that the config does not set:
`--config.sampler.rho=5`. So have `equilibrium.solver` and
`equilibrium.gradient` of an experiment with GET:
`--config.equilibrium.gradient.name=implicit`. They are described in
[equilibrium](equilibrium.md#which-solver).

`python scripts/list_config_keys.py` writes this page.
"""


def page() -> str:
  """Returns the whole page."""
  parts = [INTRODUCTION, "## Top level\n\n" + table(TOP)]
  for name, keys in SECTIONS.items():
    parts.append(f"## `{name}`\n\n" + table(keys))
  for name, keys in OPTIONAL_SECTIONS.items():
    title = f"## `{name}` (where an experiment has it)\n\n"
    parts.append(title + table(keys))
  for task, objective in OBJECTIVES.items():
    if keys := setting_keys(objective):
      parts.append(f"## `{task}` (for `task={task!r}`)\n\n" + table(keys))
  parts.append(
    "## `latents` (where an experiment has it)\n\n"
    "`latents.data` is a section like `data`.\n\n" + table(LATENTS)
  )
  parts.append("### `latents.captions`\n\n" + table(LATENTS_CAPTIONS))
  parts.append(
    "## `augmentation`\n\nEmpty for no augmentation.\n\n"
    + table(setting_keys(Augmentation))
  )
  parts.append("## `model`\n\n`name` is a variant or a family of networks.")
  parts += [f"### {name}\n\n{table(model_keys(name))}" for name in FAMILIES]
  parts += named("process", PROCESSES)
  parts += named("sampler", SAMPLERS)
  parts += named("data", SOURCES)
  return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def named(section: str, owners: Mapping[str, Callable[..., Any]]) -> list[str]:
  """Returns the part of a section whose keys depend on its `name`."""
  parts = [f"## `{section}`"]
  for name, owner in owners.items():
    keys = setting_keys(owner)
    body = table(keys) if keys else "No settings."
    parts.append(f"### `name={name}`\n\n{body}")
  return parts


def table(keys: Keys) -> str:
  """Returns keys as a Markdown table."""
  rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
  for name, key in keys.items():
    default = "required" if isinstance(key.default, type) else repr(key.default)
    cells = (f"`{name}`", key.expected(), f"`{default}`", key.meaning)
    rows.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
  return "\n".join(rows)


if __name__ == "__main__":
  PAGE.write_text(page(), "utf-8")

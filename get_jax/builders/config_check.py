"""Checks a config against the table of its keys, before any work starts."""

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from get_jax.builders.config_keys import (
  FIELD_RANGES,
  LATENTS,
  LATENTS_CAPTIONS,
  OPTIONAL_SECTIONS,
  SECTIONS,
  TOP,
)
from get_jax.builders.schema import COUNT, Key, Keys, check_keys, mentions_int
from get_jax.data.sources import SOURCES
from get_jax.diffusion import PROCESSES, SAMPLERS
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.objectives import OBJECTIVES
from get_jax.equilibrium.gradients import Gradient
from get_jax.equilibrium.settings import Settings
from get_jax.equilibrium.solvers import Solver
from get_jax.errors import UsageError, suggest
from get_jax.models.registry import find_family

# Sections whose keys are the settings of what they name or describe.
OPEN_SECTIONS = (
  "model",
  "data",
  "process",
  "sampler",
  "augmentation",
  "equilibrium",
)
# Fields that the builders set.
_NOT_SETTINGS = (
  "name", "parent", "process", "apply", "null", "label_dropout", "augment",
)  # fmt: skip
_NOT_SETTINGS_TYPES = (Solver, Gradient)
# Lower and upper bounds.
_ORDERED = (
  ("process.beta_min", "process.beta_max"),
  ("process.linear_start", "process.linear_end"),
  ("process.sigma_min", "process.sigma_max"),
  ("sampler.sigma_min", "sampler.sigma_max"),
  ("sampler.s_min", "sampler.s_max"),
  ("sampler.t_min", "sampler.t_max"),
  ("sampler.t_last", "sampler.t_first"),
  ("sampler.t_start", "sampler.t_end"),
)


def check_config(config: ml_collections.ConfigDict) -> None:
  """Checks every key of an experiment and of its teacher.

  Args:
    config: the experiment.

  Raises:
    UsageError: a section or key is missing or unknown, a value has the wrong
      type or is out of range, or two values contradict each other.
  """
  _check_experiment(config.to_dict(), "")


@functools.cache
def setting_keys(owner: Callable[..., Any]) -> Keys:
  """Returns the settings of a class or function as keys.

  Args:
    owner: a dataclass, or a function with annotated parameters. Types and
      defaults come from its signature, meanings from its docstring, ranges
      from `FIELD_RANGES`.
  """
  plain_class = inspect.isclass(owner) and not dataclasses.is_dataclass(owner)
  hints = typing.get_type_hints(owner.__init__ if plain_class else owner)
  meanings = documented_fields(owner)
  keys = {}
  for name, default in _signature(owner).items():
    hint = hints[name]
    if name in _NOT_SETTINGS or hint in _NOT_SETTINGS_TYPES:
      continue
    limits = FIELD_RANGES.get(name, COUNT if mentions_int(hint) else None)
    required = default is inspect.Parameter.empty
    keys[name] = Key(
      hint, meanings.get(name, ""), default, limits, required=required
    )
  return keys


def documented_fields(owner: Callable[..., Any]) -> dict[str, str]:
  """Returns what docstrings say of attributes or arguments, by name.

  Args:
    owner: a function, or a class, whose bases are read too.
  """
  found: dict[str, str] = {}
  classes = owner.__mro__ if inspect.isclass(owner) else (owner,)
  for cls in reversed(classes):
    text = inspect.cleandoc(cls.__doc__ or "")
    section = re.search(r"^(?:Attributes|Args):\n((?:  .*\n?)*)", text, re.M)
    entries = re.findall(
      r"^  (\w+): (.*(?:\n {4,}.*)*)", section[1] if section else "", re.M
    )
    found |= {name: " ".join(meaning.split()) for name, meaning in entries}
  return found


def _signature(owner: Callable[..., Any]) -> dict[str, Any]:
  """Returns the default of every setting by name, `empty` without one."""
  if not dataclasses.is_dataclass(owner):
    parameters = inspect.signature(owner).parameters.values()
    return {p.name: p.default for p in parameters}
  empty = inspect.Parameter.empty
  return {
    field.name: empty if field.default is dataclasses.MISSING else field.default
    for field in dataclasses.fields(owner)
    if field.init
  }


def _check_experiment(values: Mapping[str, Any], prefix: str) -> None:
  sections = {*SECTIONS, *OPEN_SECTIONS, *OPTIONAL_SECTIONS}
  sections |= {"latents", "teacher", *OBJECTIVES}
  for name, value in values.items():
    if name not in TOP and name not in sections:
      hint = suggest(name, sorted([*TOP, *sections]))
      raise UsageError(f"{prefix}{name} is unknown; {hint}")
    if name in sections and not isinstance(value, Mapping):
      raise UsageError(f"{prefix}{name} is {value!r}; expected a section")
  for name in (*SECTIONS, *OPEN_SECTIONS):
    if name not in values:
      raise UsageError(
        f"the section {prefix}{name} is missing; every config has it, empty or "
        "not"
      )
  top = {name: value for name, value in values.items() if name in TOP}
  check_keys(top, TOP, prefix)
  for name, keys in (SECTIONS | OPTIONAL_SECTIONS).items():
    if name in values:
      check_keys(values[name], keys, f"{prefix}{name}.")
  _check_open_sections(values, prefix)
  _check_relations(values, prefix)
  if "teacher" in values:
    _check_experiment(values["teacher"], f"{prefix}teacher.")


def _check_open_sections(values: Mapping[str, Any], prefix: str) -> None:
  _check_model(values["model"], f"{prefix}model")
  if values["task"] != "distillation":
    _check_named(values["process"], PROCESSES, f"{prefix}process")
    _check_named(values["sampler"], SAMPLERS, f"{prefix}sampler")
    _check_named(values["data"], SOURCES, f"{prefix}data")
  for task in OBJECTIVES.keys() & values.keys():
    if task != values["task"]:
      raise UsageError(
        f"the section {prefix}{task} is for task={task!r}; task is "
        f"{values['task']!r}"
      )
    check_keys(values[task], setting_keys(OBJECTIVES[task]), f"{prefix}{task}.")
  if values["augmentation"]:
    keys = setting_keys(Augmentation)
    check_keys(values["augmentation"], keys, f"{prefix}augmentation.")
  _check_equilibrium(values, prefix)
  if values["equilibrium"]:
    Settings.from_config(values["equilibrium"], f"{prefix}equilibrium")
  if "latents" in values:
    latents = dict(values["latents"])
    _check_named(latents.pop("data", {}), SOURCES, f"{prefix}latents.data")
    captions = latents.pop("captions", None)
    check_keys(latents, LATENTS, f"{prefix}latents.")
    if captions is not None:
      check_keys(captions, LATENTS_CAPTIONS, f"{prefix}latents.captions.")


def _check_equilibrium(values: Mapping[str, Any], prefix: str) -> None:
  """Checks that a network with these settings has an equilibrium."""
  name = values["model"]["name"]
  family, _ = find_family(name)
  if hasattr(family.module, "solver"):
    return
  if values["equilibrium"]:
    raise UsageError(
      f"{name} has no equilibrium; expected {prefix}equilibrium empty, as in "
      "configs/vit_base_cifar10.py"
    )
  for key in ("solver", "tolerance"):
    if value := values["sampling"].get(key):
      raise UsageError(
        f"{prefix}sampling.{key} is {value!r}, but {name} has no equilibrium"
      )


def _check_model(section: Mapping[str, Any], where: str) -> None:
  name, fields = _name_and_fields(section, where)
  check_keys(fields, model_keys(name), f"{where}.")


@functools.cache
def model_keys(name: str) -> Keys:
  """Returns the keys of `config.model` for a network by name.

  Raises:
    UsageError: no network has that name.
  """
  family, _ = find_family(name)
  module: Callable[..., Any] = family.module
  size = Key(int | tuple[int, int], "Image size in pixels.", None, COUNT)
  downsample = Key(int, "Pixels per latent along a side.", None, COUNT)
  keys = {
    **setting_keys(module),
    "image_size": size,
    "downsample": downsample,
  }
  keys["dtype"] = dataclasses.replace(keys["dtype"], hint=str | None)
  return {
    key: dataclasses.replace(about, required=False)
    for key, about in keys.items()
  }


def _check_named(
  section: Mapping[str, Any],
  classes: Mapping[str, Callable[..., Any]],
  where: str,
) -> None:
  name, fields = _name_and_fields(section, where)
  if name not in classes:
    raise UsageError(f"{where}.name is {name!r}; {suggest(name, classes)}")
  check_keys(fields, setting_keys(classes[name]), f"{where}.")


def _name_and_fields(
  section: Mapping[str, Any], where: str
) -> tuple[str, dict[str, Any]]:
  if not isinstance(section.get("name"), str):
    found = f"is {section['name']!r}" if "name" in section else "is missing"
    raise UsageError(f"{where}.name {found}; expected a string")
  return section["name"], {k: v for k, v in section.items() if k != "name"}


def _check_relations(values: Mapping[str, Any], prefix: str) -> None:
  for low, high in _ORDERED:
    (section, first), second = low.split("."), high.split(".")[1]
    bounds = values[section].get(first), values[section].get(second)
    if None not in bounds and bounds[0] >= bounds[1]:
      raise UsageError(
        f"{prefix}{low} is {bounds[0]!r}; expected less than {high}="
        f"{bounds[1]!r}"
      )
  interval = values["guidance"].get("interval")
  if interval is not None and interval[0] >= interval[1]:
    raise UsageError(
      f"{prefix}guidance.interval is {tuple(interval)!r}; expected (low, high)"
    )
  if len(values["ema"].keys() & {"decay", "half_life_images"}) != 1:
    raise UsageError(
      f"{prefix}ema has the keys {sorted(values['ema'])}; expected either "
      "decay or half_life_images"
    )
  if values["batch_size"] % values["accumulation"]:
    raise UsageError(
      f"{prefix}accumulation is {values['accumulation']}; expected a divisor "
      f"of batch_size={values['batch_size']}"
    )
  if values["task"] == "distillation":
    needed = ("distillation", "pairs", "teacher")
    for name in needed:
      if name not in values:
        raise UsageError(
          f"the section {prefix}{name} is missing; task='distillation' needs it"
        )
    if "iterations" not in values["sampling"]:
      raise UsageError(
        f"{prefix}sampling.iterations is missing; task='distillation' needs it"
      )

"""Describes how a checkpoint differs from a model, and suggests a change."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never, TypeVar

import flax.linen as nn

from get_jax.interop.families.family import Family, Shapes
from get_jax.models import registry
from get_jax.nn.patches import as_pair

Model = TypeVar("Model", bound=nn.Module)

_MAX_ITEMS = 12
# Fields that a variant's name implies. Other fields are suggested separately.
_SIZES = (
  "patch_size",
  "hidden_size",
  "depth",
  "injection_depth",
  "equilibrium_mlp_ratio",
  "channel_mult",
  "encoder_type",
)


def describe_mismatches(actual: Shapes, expected: Shapes) -> list[str]:
  """Returns phrases about missing, unexpected and wrongly shaped tensors.

  Args:
    actual: shapes in the file, by official name.
    expected: shapes of the model, by official name.
  """
  missing = [name for name in expected if name not in actual]
  unexpected = [name for name in actual if name not in expected]
  by_shape: dict[str, list[str]] = {}
  for name, shape in expected.items():
    if name in actual and actual[name] != shape:
      key = f"of shape {actual[name]} instead of {shape}"
      by_shape.setdefault(key, []).append(name)
  phrases = [f"missing {_format_names(missing)}"] if missing else []
  phrases += [f"unexpected {_format_names(unexpected)}"] if unexpected else []
  wrong = [f"{_format_names(names)} {key}" for key, names in by_shape.items()]
  rest = len(wrong) - _MAX_ITEMS
  more = [f"and {rest} other shapes"] if rest > 0 else []
  return phrases + wrong[:_MAX_ITEMS] + more


def _format_names(names: Sequence[str]) -> str:
  """Joins names; many names are grouped by number: blocks.[3-11].mlp.fc1."""
  if len(names) <= _MAX_ITEMS:
    return ", ".join(names)
  groups: dict[str, list[int]] = {}
  for name in names:
    number = re.search(r"(?<=\.)\d+(?=\.)", f".{name}")
    if number is None:
      groups[name] = []
    else:
      start, end = number.start() - 1, number.end() - 1
      pattern = f"{name[:start]}[]{name[end:]}"
      groups.setdefault(pattern, []).append(int(number.group()))
  texts = [
    pattern.replace("[]", _ranges(numbers), 1) if numbers else pattern
    for pattern, numbers in groups.items()
  ]
  more = (
    [f"and {len(texts) - _MAX_ITEMS} more"] if len(texts) > _MAX_ITEMS else []
  )
  return ", ".join([*texts[:_MAX_ITEMS], *more])


def _ranges(numbers: list[int]) -> str:
  if len(numbers) == 1:
    return str(numbers[0])
  runs: list[list[int]] = []
  for n in sorted(numbers):
    if runs and n == runs[-1][1] + 1:
      runs[-1][1] = n
    else:
      runs.append([n, n])
  texts = (str(a) if a == b else f"{a}-{b}" for a, b in runs)
  return f"[{','.join(texts)}]"


def suggest_config_change(
  family: Family[Model],
  families: Iterable[Family[Never]],
  shapes: Shapes,
  model: Model,
) -> str:
  """Returns the change of the config that most likely makes the file fit.

  Args:
    family: the family of the model.
    families: all families, to recognize a file of another one.
    shapes: shapes in the file, by official name.
    model: the model of the config.

  Returns:
    A phrase, or an empty string if the shapes suggest no change.
  """
  others = [
    f for f in families if f is not family and _has_signature(f, shapes)
  ]
  if others and not _has_signature(family, shapes):
    return (
      f"this file is a {others[0].name}: set model.name to one of its sizes"
    )
  variant_name, fields = _find_variant(
    type(model), family.infer_fields(shapes, model)
  )
  settings: dict[str, Any] = {}
  prefix = ""
  if any(getattr(model, k) != v for k, v in fields.items() if k in _SIZES):
    settings["name"] = variant_name
    prefix = f"this file is a {variant_name}: "
    model = model.clone(**fields)
  inferred = family.infer_fields(shapes, model)
  wrong = {k: v for k, v in inferred.items() if getattr(model, k) != v}
  if "input_size" in wrong:
    # The usual autoencoders reduce height and width by a factor of eight.
    factor = 8 if inferred["in_channels"] in (4, 16) else 1
    height, width = (factor * n for n in as_pair(wrong.pop("input_size")))
    square = height == width
    settings["image_size"] = height if square else (height, width)
    pixels = height if square else f"{height}x{width}"
    prefix = f"this file is a {pixels}-pixel {variant_name or 'model'}: "
  settings |= wrong
  if not settings:
    return ""
  changes = (f"model.{k}={v!r}" for k, v in settings.items())
  return f"{prefix}set {', '.join(changes)}"


def _has_signature(family: Family[Never], shapes: Shapes) -> bool:
  # EDM's files prefix the network's names with "model.".
  names = {family.signature, f"model.{family.signature}"}
  return not names.isdisjoint(shapes)


def _find_variant(
  module: type[nn.Module], inferred: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
  """Finds the published variant that has the inferred sizes.

  If several variants match, the one that sets the most fields is used.

  Args:
    module: class of the model.
    inferred: fields inferred from the file.

  Returns:
    The variant's name and fields, both empty if none matches or if two match
    equally well.
  """
  classes = ("num_classes", "null_class")  # these depend on the data set
  sizes = {k: v for k, v in inferred.items() if k not in classes}
  module_fields = {field.name for field in dataclasses.fields(module)}
  matches = [
    (name, {k: v for k, v in fields.items() if k in module_fields})
    for entry in registry.FAMILIES.values()
    if entry.module is module
    for name, fields in entry.variants.items()
    if all(sizes.get(k, v) == v for k, v in fields.items())
  ]
  matches.sort(key=lambda match: len(match[1]), reverse=True)
  counts = [len(fields) for _, fields in matches[:2]]
  tied = len(counts) == 2 and counts[0] == counts[1]
  return matches[0] if sizes and matches and not tied else ("", {})

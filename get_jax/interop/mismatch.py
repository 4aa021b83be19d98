"""What is wrong with a checkpoint that does not fit, and the likely remedy."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn

from get_jax.interop.families.family import Family, Shapes
from get_jax.models import registry
from get_jax.nn.patches import as_pair

_MOST = 12
# What a variant's name tells; other fields are set beside it.
_SIZES = (
  "patch_size",
  "hidden_size",
  "depth",
  "injection_depth",
  "equilibrium_mlp_ratio",
  "channel_mult",
  "encoder_type",
)


def misfits(found: Shapes, expected: Shapes) -> list[str]:
  """Missing, surplus and misshapen tensors, as phrases."""
  missing = [name for name in expected if name not in found]
  surplus = [name for name in found if name not in expected]
  shapes: dict[str, list[str]] = {}
  for name, shape in expected.items():
    if name in found and found[name] != shape:
      key = f"of shape {found[name]} instead of {shape}"
      shapes.setdefault(key, []).append(name)
  phrases = [f"missing {_listed(missing)}"] if missing else []
  phrases += [f"surplus {_listed(surplus)}"] if surplus else []
  odd = [f"{_listed(names)} {key}" for key, names in shapes.items()]
  more = [f"and {len(odd) - _MOST} other shapes"] if len(odd) > _MOST else []
  return phrases + odd[:_MOST] + more


def _listed(names: Sequence[str]) -> str:
  """Names; many are drawn together by number: blocks.[3-11].mlp.fc1."""
  if len(names) <= _MOST:
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
  more = [f"and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
  return ", ".join([*texts[:_MOST], *more])


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


def suggest_change(
  family: Family, families: Iterable[Family], found: Shapes, model: nn.Module
) -> str:
  """The change of the config that would most likely make the file fit.

  Args:
    family: of the model.
    families: all there are, to recognise a file of another.
    found: shapes in the file, by official name.
    model: the model of the config.

  Returns:
    A phrase, or nothing where the shapes tell nothing.
  """
  others = [f for f in families if f is not family and _tells(f, found)]
  if others and not _tells(family, found):
    return (
      f"this file is a {others[0].name}: set model.name to one of its sizes"
    )
  name, fields = _variant(type(model), family.fields(found, model))
  settings, what = {}, ""
  if any(getattr(model, k) != v for k, v in fields.items() if k in _SIZES):
    settings["name"], what = name, f"this file is a {name}: "
    model = model.clone(**fields)
  told = family.fields(found, model)
  wrong = {k: v for k, v in told.items() if getattr(model, k) != v}
  if "input_size" in wrong:
    # Latents of the usual autoencoders are eight times smaller than images.
    factor = 8 if told["in_channels"] in (4, 16) else 1
    height, width = (factor * n for n in as_pair(wrong.pop("input_size")))
    square = height == width
    settings["image_size"] = height if square else (height, width)
    pixels = height if square else f"{height}x{width}"
    what = f"this file is a {pixels}-pixel {name or 'model'}: "
  settings |= wrong
  if not settings:
    return ""
  changes = (f"model.{k}={v!r}" for k, v in settings.items())
  return f"{what}set {', '.join(changes)}"


def _tells(family: Family, found: Shapes) -> bool:
  # EDM's files put the network's names behind "model.".
  names = {family.telltale, f"model.{family.telltale}"}
  return not names.isdisjoint(found)


def _variant(
  module: type[nn.Module], told: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
  """The published variant of these sizes and its fields, if there is one.

  Where several agree with the file, the one that says most.
  """
  classes = ("num_classes", "null_class")  # these change with the data
  sizes = {k: v for k, v in told.items() if k not in classes}
  own = {field.name for field in dataclasses.fields(module)}
  matches = [
    (name, {k: v for k, v in fields.items() if k in own})
    for entry in registry.FAMILIES.values()
    if entry.module is module
    for name, fields in entry.variants.items()
    if all(sizes.get(k, v) == v for k, v in fields.items())
  ]
  matches.sort(key=lambda match: len(match[1]), reverse=True)
  says = [len(fields) for _, fields in matches[:2]]
  tied = len(says) == 2 and says[0] == says[1]
  return matches[0] if sizes and matches and not tied else ("", {})

"""Checks of what `adapt` is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from get_jax.errors import UsageError, suggest
from get_jax.models.adaptation_rules import Path, Shapes, shapes
from get_jax.models.base import ImageModel

# Path, shape in the source and shape in the target; None where it is missing.
Misfit = tuple[Path, tuple[int, ...] | None, tuple[int, ...] | None]

# Fields that change what the network computes, but no shape of a parameter.
_SAME_FIELDS = ("num_heads", "channels_per_head", "skip", "resample_filter")
# The same, unless the layers of patches are reset, or resized.
_PATCH_FIELDS = ("patch_size", "in_channels")
_MAX_ITEMS = 8


def check_params(flat: Mapping[Path, Any], model: nn.Module) -> None:
  """Checks that parameters are those of a network."""
  found = {path: tuple(leaf.shape) for path, leaf in flat.items()}
  expected = shapes(model)
  differing = [
    (path, found.get(path), expected.get(path))
    for path in sorted(found.keys() | expected.keys())
    if found.get(path) != expected.get(path)
  ]
  if differing:
    raise UsageError(describe_misfits(differing))


def check_reset(reset: Sequence[str], have: Shapes, want: Shapes) -> None:
  """Checks that one of the networks has the modules to reset."""
  known = {
    "/".join(path[:i])
    for path in (*have, *want)
    for i in range(1, len(path) + 1)
  }
  for name in reset:
    if name.strip("/") not in known:
      modules = sorted({path[0] for path in want})
      raise UsageError(
        f"init.reset has {name!r}, which the network does not have; "
        f"{suggest(name, modules)}"
      )


def check_classes(
  classes: Sequence[int], source: ImageModel, target: ImageModel
) -> None:
  """Checks the class of the source for each class of the target."""
  if not classes:
    return
  count = source.num_classes
  if not count:
    raise UsageError(
      f"init.classes is {tuple(classes)}, and the network of the parameters "
      "has no classes; expected ()"
    )
  if len(classes) != target.num_classes:
    raise UsageError(
      f"init.classes has {len(classes)} entries; expected one for each of "
      f"model.num_classes={target.num_classes}"
    )
  for number in classes:
    if not -1 <= number < count:
      raise UsageError(
        f"init.classes has {number}; expected 0 to {count - 1}, a class of the "
        "given parameters, or -1 for a fresh row"
      )


def check_fields(
  source: ImageModel, target: ImageModel, changes_patches: bool
) -> None:
  """Checks that both networks compute the same with the same parameters.

  Args:
    source: The network of the parameters.
    target: The network to adapt them to.
    changes_patches: Whether layers of patches may differ.
  """
  fields = _SAME_FIELDS + (() if changes_patches else _PATCH_FIELDS)
  for field in fields:
    found, expected = getattr(source, field, None), getattr(target, field, None)
    if found != expected:
      raise UsageError(
        f"the network of the parameters has {field}={found!r}; expected "
        f"{expected!r}, as in model.{field}"
      )


def is_in(path: Path, names: Sequence[str]) -> bool:
  """Returns whether a parameter is in one of the modules `names`."""
  parts = [tuple(name.strip("/").split("/")) for name in names]
  return any(path[: len(part)] == part for part in parts)


def describe_misfits(misfits: Sequence[Misfit]) -> str:
  """Returns the message about parameters that do not fit."""

  def text(shape):
    return "missing" if shape is None else str(shape)

  shown = [
    f"{'/'.join(path)} is {text(found)} there and {text(expected)} here"
    for path, found, expected in misfits[:_MAX_ITEMS]
  ]
  rest = len(misfits) - _MAX_ITEMS
  more = f"; and {rest} more" if rest > 0 else ""
  return (
    f"the parameters do not fit the network: {'; '.join(shown)}{more}; "
    "expected equal shapes, or the module in init.reset to start it fresh"
  )

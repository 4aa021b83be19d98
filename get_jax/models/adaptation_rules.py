"""Rules by which `adapt` makes each parameter of another network."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from flax import traverse_util

from get_jax.models.base import ImageModel, PatchTransformer
from get_jax.models.diffit_image import ImageDiffiT
from get_jax.models.parameters import abstract_params
from get_jax.models.unet import DhariwalUNet, SongUNet
from get_jax.models.uvit import UViT
from get_jax.nn.patches import as_pair, patch_grid
from get_jax.nn.position_embedding import sincos_2d
from get_jax.nn.resampling import bicubic_matrix, resample_grid
from get_jax.nn.windows import window_and_grid

Path = tuple[str, ...]
Shapes = Mapping[Path, tuple[int, ...]]

LABEL_MODULES = ("label_embed", "map_label", "class_tokens")
# Layers whose outputs are the values of patches.
_PATCH_OUTPUTS = (
  ("final_layer", "linear"),
  ("decoder",),
  ("u_final", "linear"),
  ("v_final", "linear"),
)
_MAX_NAMES = 8
_LEVEL = re.compile(r"(enc|dec)_(\d+x\d+)_(.*)")


@dataclasses.dataclass(frozen=True)
class Rule:
  """Computes one parameter of the target.

  Attributes:
    make: (source array, fresh array) -> array. The source array is None if
      `source` is None, and the fresh array is None unless `needs_fresh`.
    source: Path of the parameter in the source network; None if it has none.
    change: What is changed; empty if the array is kept.
    needs_fresh: Whether `make` needs the freshly initialised parameter.
  """

  make: Callable[[Any, Any], np.ndarray]
  source: Path | None
  change: str = ""
  needs_fresh: bool = False


@dataclasses.dataclass(frozen=True)
class Rules:
  """Finds the rule of each parameter.

  Attributes:
    source: The network of the parameters.
    target: The network to adapt them to.
    have: Shapes of the source.
    want: Shapes of the target.
    classes: See `adapt_params`.
    positions: See `adapt_params`.
    resize_patches: See `adapt_params`.
  """

  source: ImageModel
  target: ImageModel
  have: Shapes
  want: Shapes
  classes: tuple[int, ...]
  positions: str
  resize_patches: bool

  def source_path(self, path: Path) -> Path:
    """Returns the path of the corresponding parameter of the source."""
    match = _LEVEL.fullmatch(path[0])
    if not match or not isinstance(self.target, SongUNet | DhariwalUNet):
      return path
    half, size, rest = match.groups()
    level = _level_names(self.target).index(size)
    names = _level_names(self.source)
    if level >= len(names):
      return path
    return (f"{half}_{names[level]}_{rest}", *path[1:])

  def rule(self, path: Path) -> Rule | None:
    """Returns the rule of a parameter of the target; None if none fits."""
    source, shape = self.source_path(path), self.want[path]
    if path[0] in LABEL_MODULES and source not in self.have:
      # The source has no classes.
      return None if self.source.num_classes else _fresh_rule("starts fresh")
    if source not in self.have:
      return self._scalar_rule(path)
    if path[0] in LABEL_MODULES and path[-1] in ("kernel", "embedding"):
      return self._label_rule(path, source)
    if path[-1] == "pos_table":
      return self._sincos_rule(path, source)
    if path == ("pos_embed",):
      return self._learned_rule(path, source)
    if path[-1] == "position_bias" or path[-2:-1] == ("time_bias",):
      return self._offsets_rule(path, source)
    is_patch_layer = path[0] == "patch_embed" or path[:-1] in _PATCH_OUTPUTS
    if self.resize_patches and is_patch_layer:
      return self._patch_rule(path, source)
    return _kept(source) if self.have[source] == shape else None

  def _scalar_rule(self, path: Path) -> Rule | None:
    """Returns the rule of the embedding of a scalar that the source lacks.

    The output of its last layer starts at zero, so that the network computes
    the same as before.
    """
    new = _scalar_modules(self.target) - _scalar_modules(self.source)
    if path[0] not in new:
      return None
    if path[1] == "fc1":
      return _fresh_rule("starts fresh")
    return Rule(
      lambda array, fresh: np.zeros_like(fresh),
      source=None,
      change="starts at zero",
      needs_fresh=True,
    )

  def _label_rule(self, path: Path, source: Path) -> Rule | None:
    (rows, width), (new_rows, new_width) = self.have[source], self.want[path]
    if width != new_width:
      return None
    count, new_count = self.source.num_classes, self.target.num_classes
    # Rows of the source by row of the target; -1 is a fresh row.
    if self.classes:
      index = list(self.classes)
    elif count == new_count:
      index = list(range(count))
    else:
      index = [-1] * new_count
    if new_rows > new_count:
      index.append(count if rows > count else -1)
    if index == list(range(rows)):
      return _kept(source)
    scale = 1.0
    if isinstance(self.target, SongUNet):
      # Its one-hot labels are multiplied by the root of the number of classes.
      scale = math.sqrt(count / new_count)

    def select(table, fresh):
      out = np.array(fresh)
      for i, row in enumerate(index):
        if row >= 0:
          out[i] = table[row] if scale == 1 else scale * table[row]
      return out

    change = f"{count} -> {new_count} classes: "
    if self.classes:
      change += f"rows {', '.join(map(str, self.classes))}"
    elif count == new_count:
      change += "rows kept"
    else:
      change += "fresh rows"
    if rows > count and new_rows > new_count:
      change += ", the null class kept"
    elif new_rows > new_count:
      change += ", a fresh null class"
    elif rows > count:
      change += ", the null class removed"
    return Rule(select, source, change, needs_fresh=True)

  def _sincos_rule(self, path: Path, source: Path) -> Rule | None:
    width = self.want[path][-1]
    if self.have[source][-1] != width:
      return None
    grid, new_grid = _grid(self.source), _grid(self.target)
    if grid == new_grid:
      return _kept(source)
    return Rule(
      lambda table, fresh: sincos_2d(new_grid, width),
      source,
      f"recomputed, {_text(grid)} -> {_text(new_grid)}",
    )

  def _learned_rule(self, path: Path, source: Path) -> Rule | None:
    assert isinstance(self.source, UViT) and isinstance(self.target, UViT)
    width = self.want[path][-1]
    if self.have[source][-1] != width:
      return None
    grid, new_grid = _grid(self.source), _grid(self.target)
    extra, new_extra = self.source.extra_tokens, self.target.extra_tokens
    if grid == new_grid and extra == new_extra:
      return _kept(source)

    def resample(table, fresh):
      out = np.array(fresh)
      for i, name in enumerate(new_extra):
        if name in extra:
          out[i] = table[extra.index(name)]
      patches = table[len(extra) :].reshape(*grid, width)
      patches = resample_grid(patches, new_grid, self.positions)
      out[len(new_extra) :] = patches.reshape(-1, width)
      return out

    changes = []
    if grid != new_grid:
      changes = [f"{self.positions}, {_text(grid)} -> {_text(new_grid)}"]
    fresh_tokens = [name for name in new_extra if name not in extra]
    if fresh_tokens:
      changes.append(f"fresh rows: {_shortened(fresh_tokens)}")
    change = "; ".join(changes) or "rows of other tokens removed"
    return Rule(resample, source, change, needs_fresh=True)

  def _offsets_rule(self, path: Path, source: Path) -> Rule | None:
    window = _window(self.source, source)
    new_window = _window(self.target, path)
    if window == new_window:
      same = self.have[source] == self.want[path]
      return _kept(source) if same else None
    offsets, new_offsets = (
      (2 * h - 1, 2 * w - 1) for h, w in (window, new_window)
    )
    # (..., offsets x heads) or (offsets, heads), by layer.
    is_table = path[-1] == "position_bias"
    heads = self.want[path][-1] // (1 if is_table else math.prod(new_offsets))
    prefix = () if is_table else self.want[path][:-1]
    per_offset = (heads,) if is_table else ()
    count = math.prod(offsets) * (1 if is_table else heads)
    if self.have[source] != (*prefix, count, *per_offset):
      return None

    def resample(table, fresh):
      table = table.reshape(-1, *offsets, heads).transpose(1, 2, 0, 3)
      batch = table.shape[2]
      table = resample_grid(
        table.reshape(*offsets, -1), new_offsets, self.positions
      )
      table = table.reshape(*new_offsets, batch, heads).transpose(2, 0, 1, 3)
      return np.ascontiguousarray(table.reshape(self.want[path]))

    change = f"{self.positions}, {_text(window)} -> {_text(new_window)}"
    return Rule(resample, source, change)

  def _patch_rule(self, path: Path, source: Path) -> Rule | None:
    assert isinstance(self.source, PatchTransformer)
    assert isinstance(self.target, PatchTransformer)
    shape, new_shape = self.have[source], self.want[path]
    size, new_size = self.source.patch_size, self.target.patch_size
    if size == new_size or path == ("patch_embed", "bias"):
      return _kept(source) if shape == new_shape else None
    matrix = bicubic_matrix(size, new_size)
    # The axis of the patch, whose values have the channel fastest.
    axis = 0 if path[0] == "patch_embed" else -1
    channels = shape[axis] // size**2
    resized = list(shape)
    resized[axis] = channels * new_size**2
    if shape[axis] != channels * size**2 or tuple(resized) != new_shape:
      return None
    if axis == 0:
      matrix = np.linalg.pinv(matrix.T)

    def resize(array, fresh):
      patches = np.moveaxis(array, axis, 0).reshape(size, size, -1)
      patches = np.einsum("ir,rcd,jc->ijd", matrix, patches, matrix)
      patches = patches.reshape(new_shape[axis], -1).astype(array.dtype)
      return np.moveaxis(
        patches.reshape(new_shape[axis], *np.delete(new_shape, axis)), 0, axis
      )

    text = f"patches {_text((size, size))} -> {_text((new_size, new_size))}"
    return Rule(resize, source, f"resized, {text}")


def _kept(source: Path) -> Rule:
  return Rule(lambda array, fresh: array, source)


def _fresh_rule(change: str) -> Rule:
  return Rule(
    lambda array, fresh: fresh, source=None, change=change, needs_fresh=True
  )


def reset_rule() -> Rule:
  """Returns the rule of a parameter that the caller resets."""
  return _fresh_rule("reset")


def shapes(model: nn.Module) -> dict[Path, tuple[int, ...]]:
  """Returns the shapes of a network's parameters."""
  flat = traverse_util.flatten_dict(abstract_params(model))
  return {path: tuple(leaf.shape) for path, leaf in flat.items()}


def _scalar_modules(model: ImageModel) -> set[str]:
  """Returns the names of the modules that embed scalars."""
  names = getattr(model, "scalars", ())
  return {module for n in names for module in (f"{n}_embed", f"map_{n}")}


def _grid(model: ImageModel) -> tuple[int, int]:
  assert isinstance(model, PatchTransformer)
  return patch_grid(model.input_size, model.patch_size)


def _level_names(model: ImageModel) -> list[str]:
  """Returns the sizes of the feature maps of a U-Net, as in its modules."""
  assert isinstance(model, SongUNet | DhariwalUNet)
  height, width = as_pair(model.input_size)
  levels = range(len(model.channel_mult))
  return [f"{height >> i}x{width >> i}" for i in levels]


def _window(model: ImageModel, path: Path) -> tuple[int, int]:
  """Returns the window of the attention that has the parameter `path`."""
  if isinstance(model, ImageDiffiT):
    level = int(path[0].rpartition("_")[2])
    height, width = as_pair(model.input_size)
    return window_and_grid(height >> level, width >> level, model.window)[0]
  if match := _LEVEL.fullmatch(path[0]):
    height, width = map(int, match[2].split("x"))
    return height, width
  return _grid(model)


def _text(grid: tuple[int, int]) -> str:
  return f"{grid[0]}x{grid[1]}"


def _shortened(names: Sequence[str]) -> str:
  if len(names) <= _MAX_NAMES:
    return ", ".join(names)
  return f"{', '.join(names[:2])}, ... ({len(names)} in all)"

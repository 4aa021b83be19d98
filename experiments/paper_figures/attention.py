"""Attention maps along the generation of an image, for any network."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from get_jax import Pipeline
from get_jax.errors import UsageError
from get_jax.generation import AttentionMoment
from get_jax.models.base import ImageModel
from get_jax.models.dit import DiT
from get_jax.nn.patches import as_pair, patch_grid
from get_jax.nn.windows import window_and_grid
from paper_figures.figure import Drawing, PaperFigure
from paper_figures.runs import parse
from paper_figures.style import panels

MOMENTS = 6


def centre_map(
  model: ImageModel, weights: Float[np.ndarray, "B K N M"], path: str
) -> Float[np.ndarray, "h w"]:
  """Returns the attention of the token at the centre, averaged over heads.

  Args:
    model: The network.
    weights: Maps of one image of a layer; the windows of a layer with windows.
    path: Path of the layer, for messages.

  Returns:
    (h, w) weights of the positions of the feature map; zero outside the window
    of the token.

  Raises:
    UsageError: The keys of the layer are not positions.
  """
  queries, keys = weights.shape[2:]
  if queries != keys:
    raise UsageError(
      f"{path} attends from {queries} tokens to {keys} others; expected a "
      "layer of self-attention"
    )
  if hasattr(model, "patch_size"):
    height, width = patch_grid(model.input_size, model.patch_size)
    extra = queries - height * width
    is_appended = isinstance(model, DiT)  # The in-context blocks.
    first = 0 if is_appended else extra
    own = slice(first, first + height * width)
    weights = weights[:, :, own, own]
  else:
    height, width = _map_size(model, len(weights) * queries)
  window, grid = (height, width), (1, 1)
  if hasattr(model, "window"):
    window, grid = window_and_grid(height, width, model.window)
  row, column = height // 2, width // 2
  index = row // window[0] * grid[1] + column // window[1]
  query = row % window[0] * window[1] + column % window[1]
  local = weights[index, :, query].mean(0).reshape(window)
  full = np.zeros((height, width), np.float32)
  top, left = row // window[0] * window[0], column // window[1] * window[1]
  full[top : top + window[0], left : left + window[1]] = local
  return full


def _map_size(model: ImageModel, positions: int) -> tuple[int, int]:
  """Returns the size of a feature map: the input's, halved several times."""
  height, width = as_pair(model.input_size)
  while height * width > positions:
    height, width = height // 2, width // 2
  return height, width


def draw_attention(arguments: Sequence[str]) -> Drawing:
  """Draws input and attention of each run; rows are moments, from the noise."""
  if not arguments:
    raise UsageError(
      "attention maps are those of our networks; expected --run ROW=WORKDIR, "
      "or the name of a published network for WORKDIR"
    )
  columns = []
  for argument in arguments:
    label, source = parse(argument)
    pipe = Pipeline.load(source)
    moments = pipe.attention_maps(count=1, moments=MOMENTS)
    if not moments[0].maps:
      raise UsageError(f"{source} has no attention layers; expected some")
    columns.append((label, pipe.model, moments))
  rows = max(len(moments) for *_, moments in columns)
  figure, _ = panels()
  figure.clear()
  figure.set_size_inches(2.9 * len(columns) + 0.6, 1.3 * rows + 1.2)
  all_axes = figure.subplots(rows, 2 * len(columns), squeeze=False)
  for axes in all_axes.flat:
    axes.axis("off")
  notes = [
    "Left: the network's input. Right: attention of the token at the centre, "
    "mean of the heads; each map has its own scale."
  ]
  for i, (label, model, moments) in enumerate(columns):
    path = _last_self_attention(moments[0])
    all_axes[0][2 * i].set_title(label, fontsize=10, loc="left")
    for moment, (left, right) in zip(
      moments, all_axes[:, 2 * i : 2 * i + 2], strict=False
    ):
      left.imshow(_picture(moment.inputs[0]), cmap="gray", vmin=0, vmax=1)
      left.text(
        -0.06,
        0.5,
        _moment_name(model, moment),
        rotation=90,
        fontsize=7,
        va="center",
        ha="right",
        transform=left.transAxes,
      )
      weights = centre_map(model, moment.maps[path], path)
      right.imshow(weights, cmap="inferno", vmin=0)
    notes.append(f"{label}: layer {path}.")
  return Drawing(figure, notes)


def _last_self_attention(moment: AttentionMoment) -> str:
  """Returns the path of the last layer of self-attention."""
  square = [p for p, m in moment.maps.items() if m.shape[2] == m.shape[3]]
  return square[-1]


def _moment_name(model: ImageModel, moment: AttentionMoment) -> str:
  if hasattr(model, "state_shape"):
    return f"iteration {moment.evaluation}"
  if moment.time is None:
    return "one call"
  return f"t = {moment.time:.3g}"


def _picture(values: Float[np.ndarray, "H W C"]) -> np.ndarray:
  """Scales an input to [0, 1]; of latents, the first three channels."""
  values = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
  low, high = values.min(), values.max()
  return (values - low) / max(high - low, 1e-6)


FIGURES = {
  "attention": PaperFigure(
    "Attention of the central token while an image is generated", draw_attention
  ),
}

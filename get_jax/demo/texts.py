"""Texts and pictures of the page of the demo, as HTML."""

import base64
import html
import io

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from get_jax.demo.timing import TimedImages
from get_jax.pipeline import Pipeline


def header(name: str, pipeline: Pipeline) -> str:
  """Returns the title and a sentence on the network."""
  model, config = pipeline.model, pipeline.config
  size = sum(leaf.size for leaf in jax.tree.leaves(pipeline.params))
  height, width, _ = pipeline.image_shape
  how = "in one call"
  if config.task != "distillation":
    how = f"with the sampler {config.sampler.name}"
  elif hasattr(model, "state_shape"):
    how += ", by iterating a layer to its fixed point"
  sentence = (
    f"{config.model.name} with {size:,} parameters makes images of {height} x "
    f"{width} pixels from noise {how}."
  )
  return f"<h1>{html.escape(name)}</h1><p>{html.escape(sentence)}</p>"


def no_picture(name: str) -> str:
  """Returns what is shown before the first images of a network."""
  return _figure(name, '<div class="empty">Press Generate.</div>')


def picture(
  name: str,
  grid: UInt8[np.ndarray, "H W 3"],
  timed: TimedImages,
  file_name: str,
  small: bool,
) -> str:
  """Returns a grid of images, with a link that saves it, and the time.

  The PNG is part of the page, so that the server needs no file.

  Args:
    name: name of the network.
    grid: the pixels of the grid.
    timed: the images of the grid.
    file_name: name of the saved file.
    small: whether single pixels are visible, and have sharp edges.
  """
  png = io.BytesIO()
  Image.fromarray(grid).save(png, "PNG")
  source = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
  style = ' class="pixels"' if small else ""
  label = html.escape(f"{_number_of(timed)} of {name}")
  # The link takes the picture from the page, which then has it once.
  save = (
    f'<a href="#" download="{html.escape(file_name)}" onclick="this.href = '
    "this.closest('figure').querySelector('img').src\">Save as PNG</a>"
  )
  return _figure(
    name,
    f'<img src="{source}" alt="{label}"{style}>{_time(timed)}',
    save,
  )


def _figure(name: str, content: str, link: str = "") -> str:
  title = f"<strong>{html.escape(name)}</strong>"
  return f"<figure><figcaption>{title}{link}</figcaption>{content}</figure>"


def _number_of(timed: TimedImages) -> str:
  count = len(timed.images)
  return f"{count} image{'s' if count > 1 else ''}"


def _time(timed: TimedImages) -> str:
  """Returns the time that images took."""
  total = f"{_number_of(timed)} in {_format(timed.seconds)}"
  if timed.compiled:
    return _note(
      f"{total}, with the compilation of the first call. Generate again to see "
      "the time without it."
    )
  each = _format(timed.seconds / len(timed.images))
  return _note(f"{total}, {each} per image.")


def residuals(last: float, iterations: int) -> str:
  """Returns what the curve of residuals shows."""
  after = f"{iterations} iteration{'s' if iterations > 1 else ''}"
  return _note(
    "Median of ||f(z) - z|| / ||f(z)|| over the images, the distance from the "
    f"fixed point: {last:.2g} after {after}."
  )


def _note(text: str) -> str:
  return f'<p class="note">{html.escape(text)}</p>'


def _format(seconds: float) -> str:
  """Returns a time with a unit that fits it."""
  if seconds >= 0.9995:
    return f"{seconds:.1f} s"
  return f"{1000 * seconds:.3g} ms"

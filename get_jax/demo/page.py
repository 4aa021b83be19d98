"""The page of the demo, a `gradio.Blocks`."""

import functools
import html
from typing import Any

import gradio as gr
import numpy as np

from get_jax.demo import texts
from get_jax.demo.controls import build_controls
from get_jax.demo.networks import Networks
from get_jax.demo.settings import is_small, settings_of
from get_jax.demo.timing import TimedImages, TimedPipeline
from get_jax.errors import UsageError
from get_jax.generation.grids import tile
from get_jax.jobs.report_charts import line_chart

MAX_WAITING = 16  # calls; further ones are refused


def build_page(networks: Networks) -> gr.Blocks:
  """Returns the page of a network.

  It has the controls of the settings that the network has. One call at a time
  is computed; others wait. A wrong value is explained in a sentence on the
  page.

  Args:
    networks: the network and its teacher.

  Raises:
    UsageError: the network makes latents and no autoencoder is named, or it
      takes captions and no text encoder is named.
  """
  pipeline, source = networks.pipeline, networks.teacher
  settings, small = settings_of(pipeline), is_small(pipeline)
  student = TimedPipeline(pipeline)

  @functools.cache
  def teacher() -> TimedPipeline:
    assert source is not None
    return TimedPipeline(source.load())

  with gr.Blocks(title=networks.name, analytics_enabled=False) as page:
    gr.HTML(texts.header(networks.name, pipeline), elem_id="header")
    with gr.Row():
      with gr.Column(scale=2, min_width=300):
        controls = build_controls(settings, source is not None)
        button = gr.Button("Generate", variant="primary", elem_id="generate")
      with gr.Column(scale=3, min_width=300):
        with gr.Row():
          picture = _Picture(networks.name, "student", small)
          teacher_name = source.name if source else ""
          comparison = _Picture(teacher_name, "teacher", small, False)
        curve = gr.HTML(visible=False, elem_id="curve")

    def generate(inputs: dict[Any, Any]) -> dict[Any, Any]:
      values = controls.values(inputs)
      arguments = settings.arguments(values)
      try:
        updates = picture.show(student(**arguments), values["seed"])
        if values.get("teacher"):
          shared = teacher().shared_arguments(arguments)
          updates |= comparison.show(teacher()(**shared), values["seed"])
        else:
          updates |= comparison.hide()
      except UsageError as error:
        sentence = html.escape(str(error))
        raise gr.Error(sentence, print_exception=False) from None
      if settings.iterations is not None:
        plot = _plot(student.residuals(**arguments))
        updates[curve] = gr.update(value=plot, visible=True)
      return updates

    gr.on(
      [button.click, *controls.triggers],
      generate,
      inputs=set(controls.components.values()),
      outputs=[*picture.parts, *comparison.parts, curve],
      show_progress_on=[picture.figure, comparison.figure],
      api_visibility="private",
    )
  page.queue(default_concurrency_limit=1, max_size=MAX_WAITING)
  return page


class _Picture:
  """Images of one network, with the time that they took.

  Args:
    name: name of the network.
    role: prefix of the identifiers of the elements.
    small: whether single pixels are visible.
    visible: whether the picture is shown at first.
  """

  def __init__(self, name: str, role: str, small: bool, visible: bool = True):
    self._name, self._small = name, small
    with gr.Column(min_width=240, visible=visible) as self.column:
      self.figure = gr.HTML(texts.no_picture(name), elem_id=role)

  @property
  def parts(self) -> list[Any]:
    """The elements that `show` and `hide` update."""
    return [self.column, self.figure]

  def show(self, timed: TimedImages, seed: int) -> dict[Any, Any]:
    """Returns the updates that show images of a seed."""
    grid = tile(timed.images, int(np.ceil(np.sqrt(len(timed.images)))))
    figure = texts.picture(
      self._name, grid, timed, f"{self._name}-{seed}.png", self._small
    )
    return {self.column: gr.update(visible=True), self.figure: figure}

  def hide(self) -> dict[Any, Any]:
    """Returns the updates that hide the picture."""
    return {self.column: gr.update(visible=False)}


def _plot(residuals: np.ndarray) -> str:
  """Plots the median residual of every iteration, as HTML."""
  median = tuple(np.median(residuals, axis=1).tolist())
  steps = tuple(range(1, len(median) + 1))
  svg = line_chart(steps, median, "iteration", "relative residual")
  return svg + texts.residuals(median[-1], len(median))

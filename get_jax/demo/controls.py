"""The controls of the demo: one for each setting that the network has."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from get_jax.demo.settings import EACH_CLASS, Settings, has_steps

MAX_STEPS, MAX_GUIDANCE, MAX_ITERATIONS = 100, 10.0, 24  # of the sliders


@dataclasses.dataclass(frozen=True)
class Controls:
  """Controls by the name of their setting.

  Attributes:
    components: the controls.
    triggers: events after which images are generated at once, without the
      button.
  """

  components: dict[str, Component]
  triggers: list[Callable[..., Any]]

  def values(self, inputs: Mapping[Any, Any]) -> dict[str, Any]:
    """Returns the values by name; `inputs` has them by control."""
    return {name: inputs[c] for name, c in self.components.items()}


def build_controls(settings: Settings, has_teacher: bool) -> Controls:
  """Adds the controls to the column that is open.

  Args:
    settings: defaults of the settings of the network.
    has_teacher: whether the teacher can be shown.
  """
  components: dict[str, Component] = {}
  triggers: list[Callable[..., Any]] = []
  if settings.num_classes:
    classes = [(str(i), i) for i in range(settings.num_classes)]
    components["class"] = gr.Dropdown(
      [("each class in turn", EACH_CLASS), *classes],
      value=EACH_CLASS,
      label="Class",
      elem_id="class",
    )
  if settings.takes_captions:
    components["caption"] = gr.Textbox(label="Caption", elem_id="caption")
  components["count"] = gr.Slider(
    1,
    settings.max_count,
    settings.count,
    step=1,
    label="Number of images",
    elem_id="count",
  )
  components["seed"] = gr.Number(
    0, precision=0, label="Seed of the noise", elem_id="seed"
  )
  if settings.sampler is not None:
    _add_sampler(settings, components)
  if settings.guidance is not None:
    components["guidance"] = gr.Slider(
      1,
      max(MAX_GUIDANCE, settings.guidance),
      settings.guidance,
      step=0.1,
      label="Guidance scale (1: none)",
      elem_id="guidance",
    )
  if settings.iterations is not None:
    iterations = gr.Slider(
      1,
      max(MAX_ITERATIONS, 2 * settings.iterations),
      settings.iterations,
      step=1,
      label="Iterations of the equilibrium layer",
      info="More iterations come closer to the fixed point.",
      elem_id="iterations",
    )
    components["iterations"] = iterations
    triggers.append(iterations.release)
  if has_teacher:
    teacher = gr.Checkbox(
      label="Show its teacher, with the same noise", elem_id="show-teacher"
    )
    components["teacher"] = teacher
    triggers.append(teacher.input)
  return Controls(components, triggers)


def _add_sampler(settings: Settings, components: dict[str, Component]) -> None:
  """Adds the sampler and its steps, which adaptive samplers hide."""
  assert settings.sampler is not None and settings.steps is not None
  sampler = gr.Dropdown(
    settings.samplers,
    value=settings.sampler,
    label="Sampler",
    elem_id="sampler",
  )
  steps = gr.Slider(
    1,
    max(MAX_STEPS, 2 * settings.steps),
    settings.steps,
    step=1,
    label="Steps",
    visible=has_steps(settings.sampler),
    elem_id="steps",
  )
  sampler.change(
    lambda name: gr.update(visible=has_steps(name)),
    sampler,
    steps,
    api_visibility="private",
  )
  components |= {"sampler": sampler, "steps": steps}

"""From a config to the objects that it names."""

import jax
import jax.numpy as jnp

from get_jax.data import create_source
from get_jax.data.texts import StoredTexts, SyntheticTexts
from get_jax.diffusion import create_process
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objective import Denoising
from get_jax.distillation.objective import Distillation
from get_jax.distillation.student import Student
from get_jax.equilibrium.settings import Settings
from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.generation.conditioning import (
  Captions,
  Classes,
  Condition,
  Unconditional,
)
from get_jax.training.rng import purpose_key
from get_jax.training.sharding import AXES, make_mesh

TASKS = ("denoising", "distillation")


def check_task(config) -> None:
  """Refuses a task that there is not.

  Raises:
    UsageError: `config.task` is unknown.
  """
  if config.task not in TASKS:
    raise UsageError(
      f"task is {config.task!r}; expected one of: {', '.join(TASKS)}"
    )


def settings(section) -> tuple[str, dict]:
  """A section of a config as its `name` and the other keys.

  Raises:
    UsageError: the section has no `name`.
  """
  section = dict(section.items())
  if "name" not in section:
    raise UsageError(f"a section of the config has no name: {section}")
  return section.pop("name"), section


def build_model(config):
  """The network of `config.model`, solved as `config.equilibrium` says."""
  name, fields = settings(config.model)
  if config.get("equilibrium"):
    found = Settings.of(config.equilibrium.to_dict())
    fields |= {"solver": found.solver, "gradient": found.gradient}
  return create_model(name, **fields)


def build_source(config):
  """The data of `config.data`."""
  name, fields = settings(config.data)
  return create_source(name, **fields)


def build_process(config):
  """The diffusion process of `config.process`."""
  name, fields = settings(config.process)
  return create_process(name, **fields)


def build_augmentation(config, model) -> Augmentation | None:
  """The augmentation of `config.augmentation`; None where that is empty.

  Raises:
    UsageError: a setting is unknown, or the network does not take as many
      labels as the augmentation gives.
  """
  fields = dict(config.get("augmentation", {}).items())
  if not fields:
    return None
  try:
    augmentation = Augmentation(**fields)
  except TypeError as error:
    raise UsageError(f"augmentation does not fit: {error}") from error
  taken, given = getattr(model, "augment_dim", 0), augmentation.num_labels
  if taken != given:
    raise UsageError(
      f"{config.model.name} takes {taken} labels of an augmentation; "
      f"augmentation has {given}"
    )
  return augmentation


def build_mesh(config, devices=None):
  """The mesh of `config.mesh` over all devices, or those given."""
  return make_mesh([config.mesh[axis] for axis in AXES], devices)


def build_sampling_mesh(config):
  """Where samples are drawn: every process on its own devices.

  Samples do not depend on one another, so no process waits for another.
  """
  if jax.process_count() == 1:
    return build_mesh(config)
  return make_mesh((-1, 1, 1), jax.local_devices())


def image_shape(model) -> tuple[int, int, int]:
  """(H, W, C) of what the network sees."""
  size = model.input_size
  height, width = (size, size) if isinstance(size, int) else size
  return height, width, model.in_channels


def text_shape(config, model) -> tuple[int, int] | None:
  """(L, D) of the texts that a denoiser takes; None where it takes none."""
  y = model.inputs(1)[-1]
  if config.task != "denoising" or y is None or y.ndim == 1:
    return None
  return y.shape[1:]


def stand_in_condition(config, model) -> Condition:
  """A condition that makes the same programs, without any texts."""
  shape = text_shape(config, model)
  if shape is None:
    return build_condition(config, model)
  return Captions(SyntheticTexts(1, shape))


def build_condition(config, model, source=None) -> Condition:
  """What the network is told besides noise and time.

  Args:
    config: the experiment; `sampling.captions` names the texts of samples.
    model: its network.
    source: of the data whose texts to take; None takes those of samples, which
      are the data's where the config names none.

  Raises:
    UsageError: the network takes texts that are not there, or of another
      shape.
  """
  shape = text_shape(config, model)
  if shape is None:
    if not model.num_classes:
      return Unconditional()
    null = getattr(model, "null_class", False)
    return Classes(model.num_classes, model.num_classes if null else None)
  captions = config.sampling.get("captions")
  if source is None and captions:
    texts = StoredTexts(captions, verify=False)
  else:
    texts = getattr(source or build_source(config), "texts", None)
  found = texts and tuple(texts.shape)
  if found != shape:
    raise UsageError(
      f"{config.model.name} takes texts of shape {shape}; "
      f"{captions or config.data.name!r} has "
      + (f"texts of shape {found}" if found else "none")
    )
  return Captions(texts)


def build_init(model):
  """`init(key) -> params` of a network."""

  def init(key):
    inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
    return model.init(key, *inputs)["params"]

  return init


def build_student(config, model) -> Student:
  """The one-step generator of a distillation."""
  return Student(model, image_shape(model), config.distillation.z0)


def build_objective(
  config,
  model,
  pairs_seed: int | None = None,
  condition: Condition | None = None,
):
  """`objective(params, batch, key) -> (loss, metrics)` of `config.task`.

  Args:
    config: the experiment.
    model: its network.
    pairs_seed: seed of the pairs' noise, where the task is distillation; None
      takes the noise that the records hold.
    condition: what the network is told; None makes it from the config.

  Raises:
    UsageError: the settings contradict each other.
  """
  if config.task == "denoising":
    null = (condition or build_condition(config, model)).null
    if config.label_dropout and null is None:
      raise UsageError(
        f"label_dropout is {config.label_dropout} but {config.model.name} has "
        "no null class; expected model.null_class=True or no dropout"
      )

    conditional = model.inputs(1)[2] is not None

    def apply(params, x, t, y, key, **told):
      y = y if conditional else None
      rngs = {"dropout": key}
      variables = {"params": params}
      return model.apply(variables, x, t, y, train=True, rngs=rngs, **told)

    process, augment = build_process(config), build_augmentation(config, model)
    return Denoising(apply, process, null, config.label_dropout, augment)
  student = build_student(config, model)
  pairs_key = None if pairs_seed is None else purpose_key(pairs_seed, "pairs")

  def generate(params, samples):
    y = samples.get("label")
    if pairs_key is None:
      noise = lambda stream, shape: samples["noise"]  # noqa: E731
    else:
      noise = SampleNoise.of(pairs_key, samples["index"])
    start = SampleNoise(samples["start"])
    iterations = config.distillation.iterations
    return student.outputs(params, noise, start, y, iterations)

  distance, decay = config.distillation.distance, config.distillation.decay
  return Distillation(generate, distance, decay)

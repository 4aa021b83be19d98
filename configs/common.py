"""What every experiment starts from; each file says what it changes."""

import dataclasses
import functools

from ml_collections import ConfigDict

from get_jax.errors import UsageError
from get_jax.models import create_model

# Type of matrix products, kernel of attention, one traced block in a loop, what
# the backward pass computes again: see the networks' docstrings.
COMPUTE = dict(dtype="float32", attention="auto", scan=False, remat="none")


def experiment(get_config):
  """Lets a `get_config` take what follows the colon of `--config=file.py:`.

  "smoke" makes it a trial run, see `configs.recipes.smoke`; nothing is the
  experiment itself. Networks show how they compute, see COMPUTE, so that it can
  be changed on the command line.
  """

  @functools.wraps(get_config)
  def with_argument(argument: str = "") -> ConfigDict:
    config = get_config()
    if argument == "smoke":
      from configs.recipes.smoke import shrink

      shrink(config)
    elif argument:
      raise UsageError(f"a config takes :smoke or nothing, not :{argument}")
    for part in (config, config.get("teacher")):
      if part:
        _show_compute(part.model)
    return config

  return with_argument


def _show_compute(model: ConfigDict) -> None:
  known = {field.name for field in dataclasses.fields(create_model(**model))}
  for name, value in COMPUTE.items():
    if name in known and name not in model:
      model[name] = value


def base() -> ConfigDict:
  """All keys of an experiment with the plainest value of each."""
  return ConfigDict(
    dict(
      seed=0,
      task="denoising",
      # `name` and fields of get_jax.models.create_model.
      model=ConfigDict(),
      # `solver` and `gradient` of get_jax.equilibrium.settings, for GET.
      equilibrium=ConfigDict(),
      # `name` and settings of get_jax.data.create_source.
      data=ConfigDict(),
      # Batches read at once, and processes that read them; 0: threads of this.
      loader=dict(threads=4, workers=0),
      # `name` and fields of get_jax.diffusion.create_process.
      process=ConfigDict(),
      # Of a network that sees latents: `name` of create_autoencoder, and the
      # folder or file of the weights that make and decode them.
      autoencoder=dict(name="", weights="", dtype="float32", batch_size=4),
      # Fields of get_jax.diffusion.augmentation.Augmentation; empty: none.
      augmentation=ConfigDict(),
      label_dropout=0.0,
      batch_size=256,
      # Parts that a batch is worked through in, to save memory.
      accumulation=1,
      num_steps=400_000,
      optimizer=dict(
        learning_rate=1e-4,
        schedule="constant",
        warmup_steps=0.0,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
        weight_decay=0.0,
        clip_norm=0.0,
        # What a loss or gradient that is not finite does: "stop", or "replace"
        # as EDM's training.
        nonfinite="stop",
      ),
      ema=dict(decay=0.9999),
      # Devices along each axis; -1: the rest.
      mesh=dict(data=-1, fsdp=1, tensor=1),
      log_every=100,
      checkpoint_every=5_000,
      keep_checkpoints=2,
      preview_every=0,
      # `name` and fields of get_jax.diffusion.create_sampler.
      sampler=ConfigDict(),
      guidance=dict(scale=1.0),
      sampling=dict(count=16, batch_size=256, seed=0),
      # See get_jax.builders.evaluator; empty: what the preset says.
      evaluation=dict(
        extractor="",
        extractor_path="",
        preprocessing="",
        preset="",
        scores=(),
        reference="",
        samples="",
        count=50_000,
        seed=1,
      ),
      curve=dict(over="step", at=()),
    )
  )

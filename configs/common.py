"""Default keys of every experiment, and the `get_config` of its file."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict, FieldReference

from get_jax.equilibrium.settings import GRADIENT, SOLVER
from get_jax.errors import UsageError
from get_jax.models import create_model

# How a network computes: dtype of the matrix products, attention kernel, one
# traced block in a scan, rematerialization. See the docstrings of the networks.
COMPUTE = dict(dtype="float32", attention="auto", scan=False, remat="none")
# Keys that are a number, or a height and a width.
SIZES = ("image_size", "input_size")


def experiment(
  build: Callable[..., ConfigDict], *args: Any, **kwargs: Any
) -> Callable[..., ConfigDict]:
  """Returns the function `get_config` of an experiment's file.

  `get_config()` returns the experiment, and `get_config("smoke")`, which is
  `--config=FILE.py:smoke` on the command line, a trial run of it (see
  `configs.recipes.smoke`). The sections of networks get the keys of `COMPUTE`
  that the network has, and an equilibrium its solver and gradient, so that the
  command line can change them; and it can set a pair where a config has one of
  the `SIZES` as a number.

  Args:
    build: builds the config; usually a function of `configs.recipes`. With
      this argument alone, `experiment` is a decorator.
    *args: of `build`.
    **kwargs: of `build`.
  """

  def get_config(argument: str = "") -> ConfigDict:
    config = build(*args, **kwargs)
    if argument == "smoke":
      from configs.recipes.smoke import shrink

      shrink(config)
    elif argument:
      raise UsageError(f"a config takes :smoke or nothing, not :{argument}")
    for part in (config, config.get("teacher")):
      if part:
        _add_optional_keys(part)
        part.model, part.data = map(_allow_pairs, (part.model, part.data))
        if "latents" in part:
          part.latents.data = _allow_pairs(part.latents.data)
    return config

  return get_config


def _add_optional_keys(config: ConfigDict) -> None:
  model = config.model
  known = {field.name for field in dataclasses.fields(create_model(**model))}
  for name, value in COMPUTE.items():
    if name in known and name not in model:
      model[name] = value
  for name, values in (("solver", SOLVER), ("gradient", GRADIENT)):
    if name in known and name not in config.equilibrium:
      config.equilibrium[name] = values


def _allow_pairs(section: ConfigDict) -> ConfigDict:
  """Returns the section with sizes that may be set to a number or a pair."""
  return ConfigDict(
    {
      key: FieldReference(value, field_type=object) if key in SIZES else value
      for key, value in section.items(preserve_field_references=True)
    }
  )


def base() -> ConfigDict:
  """Returns a config with all keys that experiments share, and defaults."""
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
      # Batches that are read at the same time, and processes that read them;
      # 0 workers: threads of this process.
      loader=dict(threads=4, workers=0),
      # `name` and fields of get_jax.diffusion.create_process.
      process=ConfigDict(),
      # Of a network on latents: `name` of create_autoencoder, and the file or
      # folder of the weights that encode and decode them.
      autoencoder=dict(name="", weights="", dtype="float32", batch_size=4),
      # Fields of get_jax.diffusion.augmentation.Augmentation; empty: none.
      augmentation=ConfigDict(),
      label_dropout=0.0,
      batch_size=256,
      # Gradient accumulation: parts into which a batch is split, to save
      # memory.
      accumulation=1,
      num_steps=400_000,
      # A workdir, or an official checkpoint, whose parameters training starts
      # from; empty: random parameters. `init`: see docs/finetuning.md.
      init_from="",
      init=dict(
        classes=(), reset=(), positions="bicubic", resize_patches=False
      ),
      optimizer=dict(
        learning_rate=1e-4,
        schedule="constant",
        warmup_steps=0.0,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
        weight_decay=0.0,
        clip_norm=0.0,
        # If a loss or gradient is not finite: "stop", or "replace" as in EDM's
        # training.
        nonfinite="stop",
      ),
      ema=dict(decay=0.9999),
      # Devices along each axis; -1: all remaining devices.
      mesh=dict(data=-1, fsdp=1, tensor=1),
      log_every=100,
      checkpoint_every=5_000,
      keep_checkpoints=2,
      preview_every=0,
      # "project" or "entity/project" of Weights & Biases; empty: not used.
      wandb="",
      # `name` and fields of get_jax.diffusion.create_sampler.
      sampler=ConfigDict(),
      guidance=dict(scale=1.0),
      sampling=dict(count=16, batch_size=256, seed=0),
      # See get_jax.builders.evaluator; empty: the value of the preset.
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

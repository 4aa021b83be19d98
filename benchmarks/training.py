"""Training step of each model family: forward, backward, AdamW and EMA."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from timing import Scale, medians, time_alternately, utilization

from get_jax.diffusion.objectives.base import Objective
from get_jax.models import create_model
from get_jax.models.counting import model_size
from get_jax.models.parameters import init_params
from get_jax.training import ema
from get_jax.training.state import make_init_state
from get_jax.training.step import make_train_step

Variant = tuple[str, int]
Fields = dict[str, Any]

# Variant and batch size at the scales "paper" and "small", and the fields that
# make the "small" one "tiny".
FAMILIES: dict[str, tuple[Variant, Variant | None, Fields | None]] = {
  "DiT": (("DiT-XL/2", 256), ("DiT-S/8", 4), dict(depth=1)),
  "U-ViT": (("U-ViT-H/2", 256), ("U-ViT-S/4", 2), dict(depth=2)),
  "DiffiT": (("DiffiT-256", 128), None, None),
  "DiffiT-image": (("DiffiT-CIFAR-10", 256), ("DiffiT-CIFAR-10-I.1", 1), None),
  "ViT": (("ViT-L/2", 256), ("ViT-S/4", 4), dict(depth=1)),
  "GET": (("GET-B/2", 256), ("GET-T/2", 4), dict(equilibrium_depth=1)),
  "EDM DDPM++": (("DDPM++-32", 512), ("DDPM++-32", 1), None),
  "ADM": (("ADM-64", 256), None, None),
}
# Reduced variants for a CPU, where no small variant was published.
REDUCED: dict[str, tuple[str, int, Fields]] = {
  "DiffiT": ("DiffiT-256", 1, dict(depth=2)),
  "ADM": ("ADM-64", 1, dict(model_channels=64)),
}
TINY: dict[str, Fields] = {
  "DiffiT": dict(depth=1, hidden_size=48, num_heads=2),
  "DiffiT-image": dict(widths=(32,), depths=(1,)),
  "EDM DDPM++": dict(model_channels=16, channel_mult=(1,), num_blocks=1),
  "ADM": dict(model_channels=16, channel_mult=(1,), num_blocks=1),
}


def create_at_scale(family: str, scale: Scale) -> tuple[nn.Module, str, int]:
  """Creates the network of a family at a scale.

  Args:
    family: a key of `FAMILIES`.
    scale: the problem sizes.

  Returns:
    The network, its description, and the batch size.
  """
  paper, small, tiny = FAMILIES[family]
  fields: Fields = {}
  if scale.name == "paper":
    name, batch = paper
  elif small:
    name, batch = small
  else:
    name, batch, fields = REDUCED[family]
  if scale.name == "tiny":
    batch, fields = 1, tiny or TINY[family]
  label = name + "".join(f", {k}={v}" for k, v in fields.items())
  return create_model(name, dtype=scale.dtype, **fields), label, batch


@dataclasses.dataclass(frozen=True)
class _MeanSquare(Objective):
  """The mean square of a network's outputs, for random inputs."""

  model: nn.Module

  def prepare(self, batch, key, step=0):
    return batch

  def loss(self, params, samples, key, targets):
    out = self.model.apply({"params": params}, *samples["inputs"])
    return jnp.mean(jnp.asarray(out) ** 2), {}


def training_step(model: nn.Module, batch: int):
  """Builds a training step with AdamW and EMA.

  Args:
    model: the network.
    batch: batch size, B.

  Returns:
    The jitted step, its initial state, and a batch of random inputs.
  """

  optimizer = optax.adamw(1e-4)
  key = jax.random.key(0)
  step = make_train_step(
    _MeanSquare(model), optimizer, ema.constant(0.9999), key, 100
  )
  state = jax.jit(
    make_init_state(lambda key: init_params(model, key), (), optimizer)
  )(key)
  rng = np.random.default_rng(0)

  def fill(shape):
    if jnp.issubdtype(shape.dtype, jnp.integer):
      return jnp.zeros(shape.shape, shape.dtype)
    return jnp.asarray(rng.standard_normal(shape.shape), shape.dtype)

  inputs = jax.tree.map(fill, model.inputs(batch))
  return jax.jit(step, donate_argnums=0), state, {"inputs": inputs}


def rows(
  scale: Scale, families: Sequence[str] = tuple(FAMILIES)
) -> list[dict[str, Any]]:
  """Returns one row per family."""
  table = []
  for family in families:
    model, label, batch = create_at_scale(family, scale)
    step, state, data = training_step(model, batch)
    compiled = step.lower(state, data).compile()
    memory = compiled.memory_analysis()
    states = [state]

    def run(compiled=compiled, states=states, data=data):
      states[0], bad_step = compiled(states[0], data)
      return bad_step

    seconds = medians(time_alternately({"step": run}, scale.repeats))["step"]
    macs = model_size(model).macs
    table.append(
      {
        "network": label,
        "batch": batch,
        "images/s": batch / seconds,
        "s a step": seconds,
        "GMACs forward": macs / 1e9,
        "GFLOP/s of the model": 6 * macs * batch / seconds / 1e9,
        "share of the peak": utilization(6 * macs * batch, seconds),
        "MiB of arguments": memory.argument_size_in_bytes / 2**20,
        "MiB of the step": memory.temp_size_in_bytes / 2**20,
      }
    )
  return table

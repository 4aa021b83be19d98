"""Generation of pairs with EDM's teacher; encoding and decoding of latents."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import machine
import numpy as np
from networks import random_params
from timing import (
  Cases,
  Row,
  Scale,
  medians,
  on_cpu,
  time_alternately,
  utilization,
)

from get_jax.autoencoder import create_autoencoder
from get_jax.diffusion import SampleNoise, create_process, create_sampler
from get_jax.models import create_model
from get_jax.models.counting import model_size, multiply_adds


def pairs_cases(scale: Scale) -> Cases:
  """Returns one case."""
  return {"pairs": lambda: pairs(scale)}


def autoencoder_cases(scale: Scale) -> Cases:
  """Returns one case."""
  return {"autoencoder": lambda: autoencoder(scale)}


def share_of_peak(flops: float, seconds: float, scale: Scale) -> float | None:
  """Returns the share of the machine's peak; see `machine` for a CPU's."""
  if on_cpu():
    return flops / seconds / machine.measure("float32", scale).peak
  return utilization(flops, seconds)


def pairs(scale: Scale) -> list[Row]:
  """Returns one row for DDPM++ with Heun's method, as for GET's pairs.

  The GET paper uses 18 steps, which are 35 network evaluations.
  """
  batch, fields = scale.select(
    paper=(512, {}),
    small=(4, dict(model_channels=32)),
    tiny=(1, dict(model_channels=16, channel_mult=(1,), num_blocks=1)),
  )
  steps = scale.select(paper=18, small=18, tiny=2)
  model = create_model("DDPM++-32", dtype=scale.dtype, **fields)
  params = jax.device_put(random_params(model))
  sampler = create_sampler("heun", create_process("edm"), num_steps=steps)

  @jax.jit
  def sample(params, noise):
    def net(x, t):
      return model.apply({"params": params}, x, t)

    return sampler(net, noise, (32, 32, 3))

  noise = SampleNoise.create(jax.random.key(0), np.arange(batch))
  runs = time_alternately(
    {"pairs": lambda: sample(params, noise)}, scale.repeats
  )
  seconds = medians(runs)["pairs"]
  assert sampler.evaluations is not None  # the steps of Heun are fixed
  flops = 2 * model_size(model).macs * sampler.evaluations * batch
  return [
    {
      "network": "DDPM++-32" + "".join(f", {k}={v}" for k, v in fields.items()),
      "evaluations": sampler.evaluations,
      "batch": batch,
      "images/s": batch / seconds,
      "GFLOP/s of the model": flops / seconds / 1e9,
      "share of the peak": share_of_peak(flops, seconds, scale),
    }
  ]


def autoencoder(scale: Scale) -> list[Row]:
  """Returns one row each for the encoder and the decoder of SD."""
  batch, side, fields = scale.select(
    paper=(32, 256, {}),
    small=(1, 64, {}),
    tiny=(1, 16, dict(block_out_channels=(32, 32), layers_per_block=1)),
  )
  network = create_autoencoder("SD", dtype=scale.dtype, **fields)
  images = jnp.zeros((batch, side, side, 3))
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)["params"]
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda p: jnp.asarray(0.02 * rng.standard_normal(p.shape, np.float32)),
    shapes,
  )

  def encode(params, x):
    return network.apply({"params": params}, x, method="encode")

  def decode(params, x):
    return network.apply({"params": params}, x, method="decode")

  size = side // network.downsample
  latents = jnp.zeros((batch, size, size, network.latent_channels))
  halves: dict[str, tuple[Callable[..., Any], jax.Array]] = {
    "encode": (encode, images),
    "decode": (decode, latents),
  }
  functions = {
    name: functools.partial(jax.jit(function), params, inputs)
    for name, (function, inputs) in halves.items()
  }
  table = []
  runs = time_alternately(functions, scale.repeats)
  for name, seconds in medians(runs).items():
    function, inputs = halves[name]
    flops = 2 * multiply_adds(function, params, inputs)
    table.append(
      {
        "half": name,
        "pixels": side,
        "batch": batch,
        "images/s": batch / seconds,
        "GFLOP/s": flops / seconds / 1e9,
        "share of the peak": share_of_peak(flops, seconds, scale),
      }
    )
  return table

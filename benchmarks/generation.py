"""Making pairs with EDM's teacher; encoding and decoding latents."""

import jax
import jax.numpy as jnp
import numpy as np
from timing import Scale, medians, take_turns, utilisation

from get_jax.autoencoder import create_autoencoder
from get_jax.diffusion import SampleNoise, create_process, create_sampler
from get_jax.models import create_model
from get_jax.models.counting import model_size, multiply_adds
from get_jax.models.parameters import init_params


def pairs(scale: Scale) -> list[dict]:
  """DDPM++ with Heun's 18 steps, 35 evaluations, as the GET paper's pairs."""
  batch, fields = scale.pick(
    paper=(512, {}),
    small=(4, dict(model_channels=32)),
    tiny=(1, dict(model_channels=16, channel_mult=(1,), num_blocks=1)),
  )
  steps = scale.pick(paper=18, small=18, tiny=2)
  model = create_model("DDPM++-32", dtype=scale.dtype, **fields)
  params = init_params(model, jax.random.key(0))
  sampler = create_sampler("heun", create_process("edm"), num_steps=steps)

  @jax.jit
  def sample(params, noise):
    return sampler(
      lambda x, t: model.apply({"params": params}, x, t), noise, (32, 32, 3)
    )

  noise = SampleNoise.create(jax.random.key(0), np.arange(batch))
  runs = take_turns({"ours": lambda: sample(params, noise)}, scale.repeats)
  seconds = medians(runs)["ours"]
  flops = 2 * model_size(model).macs * sampler.evaluations * batch
  return [
    {
      "network": "DDPM++-32" + "".join(f", {k}={v}" for k, v in fields.items()),
      "evaluations": sampler.evaluations,
      "batch": batch,
      "images/s": batch / seconds,
      "GFLOP/s of the model": flops / seconds / 1e9,
      "share of the peak": utilisation(flops, seconds),
    }
  ]


def autoencoder(scale: Scale) -> list[dict]:
  """Encoder and decoder of SD's autoencoder."""
  batch, side, fields = scale.pick(
    paper=(32, 256, {}),
    small=(1, 64, {}),
    tiny=(1, 16, dict(block_out_channels=(32, 32), layers_per_block=1)),
  )
  network = create_autoencoder("SD", dtype=scale.dtype, **fields)
  images = jnp.zeros((batch, side, side, 3))
  params = jax.jit(network.init)(jax.random.key(0), images)["params"]
  half = {
    name: lambda params, x, name=name: network.apply(
      {"params": params}, x, method=name
    )
    for name in ("encode", "decode")
  }
  size = side // network.downsample
  latents = jnp.zeros((batch, size, size, network.latent_channels))
  inputs = {"encode": images, "decode": latents}
  jitted = {name: jax.jit(function) for name, function in half.items()}
  works = {
    name: lambda name=name: jitted[name](params, inputs[name]) for name in half
  }
  made = []
  for name, seconds in medians(take_turns(works, scale.repeats)).items():
    flops = 2 * multiply_adds(half[name], params, inputs[name])
    made.append(
      {
        "half": name,
        "pixels": side,
        "batch": batch,
        "images/s": batch / seconds,
        "GFLOP/s": flops / seconds / 1e9,
        "share of the peak": utilisation(flops, seconds),
      }
    )
  return made

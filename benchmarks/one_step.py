"""Images a second of GET by iterations, beside ViT, DiT and PyTorch's GET.

The GET paper's Figure 3a: a GET generates in one call, at a cost that grows
with its iterations; ViT calls once, DiT once for every step of its sampler.
"""

import jax
import jax.numpy as jnp
import numpy as np
from timing import Scale, medians, on_cpu, ratio, take_turns

from get_jax.equilibrium import Simple
from get_jax.models import create_model
from get_jax.models.parameters import init_params


def call(model, batch: int, **options):
  """A work that generates a batch with random parameters."""
  params = init_params(model, jax.random.key(0))
  rng = np.random.default_rng(0)
  inputs = [
    None
    if shape is None
    else jnp.asarray(rng.standard_normal(shape.shape), shape.dtype)
    for shape in model.inputs(batch)
  ]
  forward = jax.jit(
    lambda params, *inputs: model.apply({"params": params}, *inputs, **options)
  )
  return lambda: forward(params, *inputs)


def torch_get(model, batch: int, iterations: int):
  """The same GET in PyTorch.

  Compiled and in bfloat16 on a GPU; float32 and not compiled on a CPU.
  """
  import torch
  from torch_models.transformers import GET

  if on_cpu():
    torch.set_num_threads(1)
  device = "cpu" if on_cpu() else "cuda"
  network = GET(
    model.input_size,
    model.hidden_size,
    model.num_heads,
    model.injection_depth,
    model.equilibrium_depth,
    model.equilibrium_mlp_ratio,
  ).to(device)
  tokens = (model.input_size // 2) ** 2
  noise = torch.randn(batch, 3, model.input_size, model.input_size).to(device)
  start = torch.zeros(batch, tokens, model.hidden_size).to(device)
  if not on_cpu():
    network = torch.compile(network)

  def run():
    with (
      torch.no_grad(),
      torch.autocast(device, torch.bfloat16, enabled=not on_cpu()),
    ):
      network(noise, start, iterations)
    if not on_cpu():
      torch.cuda.synchronize()

  return run


def rows(scale: Scale) -> list[dict]:
  """One row a network and number of iterations."""
  get, vit, dit, batch, counts = scale.pick(
    paper=("GET-B/2", "ViT-L/2", "DiT-L/2", 256, (1, 2, 4, 6, 12, 24)),
    small=("GET-T/2", "ViT-S/2", "DiT-S/2", 4, (1, 2, 4, 6, 12)),
    tiny=("GET-T/2", "ViT-S/4", "DiT-S/2", 1, (1,)),
  )
  few = scale.name == "tiny"
  dtype = scale.dtype
  model = create_model(
    get,
    dtype=dtype,
    solver=Simple(),
    **(dict(injection_depth=1, equilibrium_depth=1) if few else {}),
  )
  layers = dict(depth=1) if few else {}
  works = {
    (vit, 1): call(create_model(vit, dtype=dtype, **layers), batch),
    (f"{dit}, one step", 1): call(
      create_model(
        dit, dtype=dtype, input_size=32, in_channels=3, num_classes=0, **layers
      ),
      batch,
    ),
  }
  rivals = {}
  for count in counts:
    works[get, count] = call(model, batch, iterations=count)
    if scale.with_torch:
      works["PyTorch", count] = torch_get(model, batch, count)
      rivals[get, count] = ("PyTorch", count)
  seconds = take_turns(works, scale.repeats)
  made = []
  for (name, count), median in medians(seconds).items():
    if name == "PyTorch":
      continue
    row = {"network": name, "iterations": count, "images/s": batch / median}
    row["ms an image"] = 1e3 * median / batch
    if (name, count) in rivals:
      row["time over PyTorch's"] = ratio(
        seconds[name, count], seconds[rivals[name, count]]
      )
    made.append(row)
  return made

"""GET by iterations, with ViT, one-step DiT and GET in PyTorch.

See Figure 3a of the GET paper: GET generates images in one call, whose cost
grows with the number of iterations. ViT needs one call, and DiT one call per
step of its sampler.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from networks import random_params
from timing import (
  Cases,
  Row,
  Scale,
  median_ratio,
  medians,
  number_of_cores,
  on_cpu,
  time_alternately,
  utilization,
)

from get_jax.equilibrium import Simple
from get_jax.models import create_model
from get_jax.models.counting import multiply_adds
from get_jax.models.get import GET
from get_jax.models.parameters import abstract_params
from get_jax.nn.patches import as_pair


def jax_call(
  model: nn.Module, batch: int, **options: Any
) -> Callable[[], jax.Array]:
  """Returns a function that runs a network with random parameters.

  Args:
    model: the network.
    batch: batch size, B.
    **options: further arguments of the call.
  """
  params = jax.device_put(random_params(model))
  rng = np.random.default_rng(0)
  inputs = [
    None
    if shape is None
    else jnp.asarray(rng.standard_normal(shape.shape), shape.dtype)
    for shape in model.inputs(batch)
  ]

  @jax.jit
  def forward(params, *inputs):
    return model.apply({"params": params}, *inputs, **options)

  return lambda: forward(params, *inputs)


def count_flops(model: nn.Module, batch: int, **options: Any) -> float:
  """Returns the floating-point operations of the products of a call."""

  def forward(params, *inputs):
    return model.apply({"params": params}, *inputs, **options)

  return 2 * multiply_adds(
    forward, abstract_params(model), *model.inputs(batch)
  )


def torch_call(model: GET, batch: int, iterations: int) -> Callable[[], None]:
  """Returns a function that runs the same GET in PyTorch.

  It is compiled and in bfloat16 on a GPU, not compiled and in float32 on a CPU.

  Args:
    model: the GET whose sizes are used.
    batch: batch size, B.
    iterations: equilibrium iterations.
  """
  import torch
  from torch_models.transformers import GET as TorchGET

  if on_cpu():
    torch.set_num_threads(number_of_cores())
  device = "cpu" if on_cpu() else "cuda"
  side, _ = as_pair(model.input_size)
  network = TorchGET(
    side,
    model.hidden_size,
    model.num_heads,
    model.injection_depth,
    model.equilibrium_depth,
    model.equilibrium_mlp_ratio,
  ).to(device)
  tokens = (side // 2) ** 2
  noise = torch.randn(batch, 3, side, side).to(device)
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


def cases(scale: Scale) -> Cases:
  """Returns one case; all networks run alternately."""
  return {"networks": lambda: rows(scale)}


def rows(scale: Scale) -> list[Row]:
  """Returns one row per network and number of iterations."""
  get, vit, dit, batch, counts = scale.select(
    paper=("GET-B/2", "ViT-L/2", "DiT-L/2", 256, (1, 2, 4, 6, 12, 24)),
    small=("GET-T/2", "ViT-S/2", "DiT-S/2", 4, (1, 2, 4, 6, 12)),
    tiny=("GET-T/2", "ViT-S/4", "DiT-S/2", 1, (1,)),
  )
  dtype = scale.dtype
  get_fields: dict[str, Any] = {}
  fields: dict[str, Any] = {}
  if scale.name == "tiny":
    get_fields = dict(injection_depth=1, equilibrium_depth=1)
    fields = dict(depth=1)
  model = create_model(get, dtype=dtype, solver=Simple(), **get_fields)
  assert isinstance(model, GET)
  vit_model = create_model(vit, dtype=dtype, **fields)
  dit_model = create_model(
    dit, dtype=dtype, input_size=32, in_channels=3, num_classes=0, **fields
  )
  functions: dict[tuple[str, int], Callable[[], Any]] = {
    (vit, 1): jax_call(vit_model, batch),
    (f"{dit}, one step", 1): jax_call(dit_model, batch),
  }
  flops = {
    (vit, 1): count_flops(vit_model, batch),
    (f"{dit}, one step", 1): count_flops(dit_model, batch),
  }
  for count in counts:
    functions[get, count] = jax_call(model, batch, iterations=count)
    flops[get, count] = count_flops(model, batch, iterations=count)
    if scale.with_torch:
      functions["PyTorch", count] = torch_call(model, batch, count)
  seconds = time_alternately(functions, scale.repeats)
  table = []
  for (name, count), median in medians(seconds).items():
    if name == "PyTorch":
      continue
    row: Row = {
      "network": name,
      "iterations": count,
      "images/s": batch / median,
    }
    row["ms an image"] = 1e3 * median / batch
    row["GFLOP/s"] = flops[name, count] / median / 1e9
    row["MFU"] = utilization(flops[name, count], median)
    if name == get and scale.with_torch:
      row["time over PyTorch's"] = median_ratio(
        seconds[name, count], seconds["PyTorch", count]
      )
    table.append(row)
  return table

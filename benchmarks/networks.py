"""Networks against PyTorch: forward, forward and backward, training step.

Both implementations have the same weights, and their outputs and gradients are
compared first. A training step is forward, backward, AdamW and the average of
the parameters. PyTorch runs its fused attention and its fused AdamW, as it is
and after `torch.compile`. In bfloat16, parameters are float32 in both.

On a CPU, networks are those of the papers with fewer blocks, at 512 tokens (256
where the width is 768). The iterations of GET are unrolled, as in PyTorch. "of
the peak" compares with the faster matrix product of this machine (see
`machine`). The bound is the time that the products need at that peak, or that
arguments, results and temporaries need at the bandwidth of memory if this is
longer.
"""

import dataclasses
import functools
import gc
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import machine
import numpy as np
import optax
from timing import (
  Cases,
  Row,
  Scale,
  median_cpu,
  median_ratio,
  medians,
  number_of_cores,
  on_cpu,
  time_alternately,
)

from get_jax.aot.memory import read_memory
from get_jax.diffusion.objectives.base import Objective
from get_jax.equilibrium import Simple, Unrolled
from get_jax.models import create_model
from get_jax.models.counting import multiply_adds
from get_jax.models.parameters import abstract_params
from get_jax.training import ema
from get_jax.training.state import make_init_state
from get_jax.training.step import make_train_step

Fields = Mapping[str, Any]
TASKS = ("forward", "forward+backward", "training step")


@dataclasses.dataclass(frozen=True)
class Network:
  """A network at one scale.

  Attributes:
    name: name of a variant.
    batch: batch size, B.
    fields: fields that differ from the variant's.
    options: static arguments of the call, of both implementations.
  """

  name: str
  batch: int
  fields: Fields = dataclasses.field(default_factory=dict)
  options: Fields = dataclasses.field(default_factory=dict)

  @property
  def label(self) -> str:
    """Name and the fields that differ."""
    settings = {**self.fields, **self.options}
    for name in ("solver", "gradient"):
      settings.pop(name, None)
    return self.name + "".join(f", {k}={v}" for k, v in settings.items())

  def create(self, dtype: str) -> nn.Module:
    """Creates the network of get_jax with a compute type."""
    compute = None if dtype == "float32" else dtype
    return create_model(self.name, dtype=compute, **self.fields)


def _dit(name: str, batch: int, depth: int = 2, **fields: Any) -> Network:
  return Network(name, batch, dict(depth=depth, **fields))


def _get(name: str, batch: int, iterations: int = 3) -> Network:
  fields = dict(
    injection_depth=1,
    equilibrium_depth=1,
    solver=Simple(),
    gradient=Unrolled(unroll=iterations),
  )
  return Network(name, batch, fields, dict(iterations=iterations))


SMALL = (
  _get("GET-T/2", 2),
  _get("GET-M/2", 2),
  _get("GET-S/2", 2),
  _get("GET-B/2", 1, 2),
  _dit("DiT-S/2", 2),
  _dit("DiT-S/4", 8),
  _dit("DiT-S/8", 32),
  _dit("DiT-B/2", 1),
  _dit("DiT-B/4", 4),
  _dit("DiT-B/8", 16),
  _dit("U-ViT-S/2", 2),
  Network("DiffiT-CIFAR-10-I.1", 1, dict(widths=(128, 256), depths=(1, 1))),
  Network("DDPM++-32", 1, dict(channel_mult=(2, 2), num_blocks=1)),
  Network("iMF-B/2", 1, dict(depth=2, head_depth=1, v_head=False)),
  _dit("ViT-B/2", 1),
)
TINY = (
  _dit("DiT-S/8", 1, 1, hidden_size=32, num_heads=2),
  Network(
    "GET-T/2",
    1,
    dict(
      injection_depth=1,
      equilibrium_depth=1,
      hidden_size=32,
      num_heads=2,
      solver=Simple(),
    ),
    dict(iterations=2),
  ),
  _dit("U-ViT-S/4", 1, 2, hidden_size=32, num_heads=2),
  Network(
    "DiffiT-CIFAR-10-I.1", 1, dict(image_size=8, widths=(32, 64), depths=(1, 1))
  ),
  Network(
    "DDPM++-32",
    1,
    dict(image_size=16, model_channels=16, channel_mult=(1, 2), num_blocks=1),
  ),
  Network(
    "iMF-B/2",
    1,
    dict(
      image_size=64,
      depth=2,
      head_depth=1,
      v_head=False,
      hidden_size=48,
      num_heads=2,
    ),
  ),
  _dit("ViT-S/8", 1, 1, hidden_size=32, num_heads=2),
)
# On an accelerator, with each implementation of attention that it has.
PAPER = (
  Network("DiT-XL/2", 64, dict(attention="cudnn", remat="dots")),
  Network("DiT-XL/2", 64, dict(attention="xla", remat="dots")),
)


def random_inputs(model: nn.Module, batch: int) -> dict[str, Any]:
  """Returns random arguments of the call by name, NHWC."""
  rng = np.random.default_rng(0)
  shapes = dict(
    zip(
      ("noise", "y") if len(model.inputs(batch)) == 2 else ("x", "t", "y"),
      model.inputs(batch),
      strict=True,
    )
  ) | model.scalar_inputs(batch)
  if hasattr(model, "state_shape"):
    state = (batch, *model.state_shape)
    shapes["z0"] = jax.ShapeDtypeStruct(state, jnp.float32)

  def fill(name, shape):
    if jnp.issubdtype(shape.dtype, jnp.integer):
      return rng.integers(0, model.num_classes, shape.shape, np.int32)
    if name in ("t", "h", "w", "t_min", "t_max"):
      return rng.uniform(0, 1, shape.shape).astype(np.float32)
    return rng.standard_normal(shape.shape, np.float32)

  return {k: fill(k, shape) for k, shape in shapes.items() if shape is not None}


def random_params(model: nn.Module) -> Any:
  """Returns small random parameters, also for layers initialized to zero.

  Scales of norms are about one. Tables of positions keep their values.
  """
  rng = np.random.default_rng(1)

  def fill(path, shape):
    value = 0.02 * rng.standard_normal(shape.shape, np.float32)
    return value + (path[-1].key == "scale")

  return jax.tree_util.tree_map_with_path(fill, abstract_params(model))


@dataclasses.dataclass(frozen=True)
class MeanSquare(Objective):
  """The mean square of a network's outputs.

  Attributes:
    model: the network.
    options: static arguments of its call.
  """

  model: nn.Module
  options: Fields

  def prepare(self, batch, key, step=0):
    """Returns the batch."""
    return batch

  def loss(self, params, samples, key, targets):
    """Returns the mean square and no metrics."""
    out = self.model.apply({"params": params}, **samples, **self.options)
    return jnp.mean(jnp.square(jnp.asarray(out, jnp.float32))), {}


@dataclasses.dataclass(frozen=True)
class Passes:
  """Compiled programs of one network in get_jax.

  Attributes:
    functions: a function without arguments by task.
    flops: floating-point operations of the matrix products by task.
    bytes: bytes of arguments, results and temporaries by task.
    output: the result of the forward pass.
    gradients: the gradients of the parameters.
  """

  functions: dict[str, Callable[[], Any]]
  flops: dict[str, float]
  bytes: dict[str, int]
  output: np.ndarray
  gradients: Any


def jax_passes(network: Network, dtype: str) -> Passes:
  """Compiles forward pass, gradient and training step of a network."""
  model = network.create(dtype)
  inputs = jax.tree.map(jnp.asarray, random_inputs(model, network.batch))
  params = jax.tree.map(jnp.asarray, random_params(model))
  objective = MeanSquare(model, network.options)
  optimizer, key = optax.adamw(1e-4), jax.random.key(0)

  def forward(params, inputs):
    return model.apply({"params": params}, **inputs, **network.options)

  def loss(params, inputs):
    return objective.loss(params, inputs, key, ())[0]

  grad = jax.value_and_grad(loss)
  step = make_train_step(objective, optimizer, ema.constant(0.9999), key, 100)
  init = make_init_state(lambda _: params, (), optimizer)
  states = [jax.jit(init)(key)]
  programs = {
    "forward": jax.jit(forward).lower(params, inputs).compile(),
    "forward+backward": jax.jit(grad).lower(params, inputs).compile(),
    "training step": jax.jit(step, donate_argnums=0)
    .lower(states[0], inputs)
    .compile(),
  }

  def run_step():
    states[0], bad_step = programs["training step"](states[0], inputs)
    return states[0], bad_step

  functions: dict[str, Callable[[], Any]] = {
    task: functools.partial(program, params, inputs)
    for task, program in programs.items()
  }
  functions["training step"] = run_step
  macs = multiply_adds(forward, params, inputs)
  backward = 3 * macs
  if "remat" not in network.fields:
    backward = min(backward, multiply_adds(grad, params, inputs))
  memory = {k: read_memory(program) for k, program in programs.items()}
  return Passes(
    functions,
    {k: 2 * (macs if k == "forward" else backward) for k in TASKS},
    {k: m.arguments + m.outputs + m.temporaries for k, m in memory.items()},
    np.asarray(functions["forward"]()),
    jax.tree.map(np.asarray, functions["forward+backward"]()[1]),
  )


def cases(scale: Scale) -> Cases:
  """Returns one case per network and dtype."""
  networks = scale.select(paper=PAPER, small=SMALL, tiny=TINY[:1])
  dtypes = scale.select(
    paper=("bfloat16",), small=machine.DTYPES, tiny=("float32",)
  )
  return {
    f"{network.label}, {dtype}": functools.partial(rows, network, dtype, scale)
    for dtype in dtypes
    for network in networks
  }


def rows(network: Network, dtype: str, scale: Scale) -> list[Row]:
  """Returns one row per task."""
  limits = machine.measure(dtype, scale)
  passes = jax_passes(network, dtype)
  functions: dict[str, dict[str, Callable[[], Any]]] = {
    task: {"get_jax": function} for task, function in passes.functions.items()
  }
  if scale.with_torch:
    import torch_networks

    kinds = ["PyTorch"]
    if scale.with_compiled_torch:
      kinds.append("compiled")
    for kind in kinds:
      twin = torch_networks.torch_passes(network, dtype, kind == "compiled")
      torch_networks.check_equal_passes(network, dtype, passes, twin)
      for task, function in twin.functions.items():
        functions[task][kind] = function
  table = []
  for task, group in functions.items():
    runs = time_alternately(group, scale.repeats)
    seconds = medians(runs)
    ours = seconds["get_jax"]
    compute = passes.flops[task] / limits.peak
    memory = passes.bytes[task] / limits.bandwidth
    row: Row = {
      "network": network.label,
      "batch": network.batch,
      "type": dtype,
      "cores": number_of_cores() if on_cpu() else None,
      "task": task,
      "get_jax, ms": 1e3 * ours,
      "PyTorch, ms": _milliseconds(seconds, "PyTorch"),
      "compiled, ms": _milliseconds(seconds, "compiled"),
      "/ PyTorch": None,
      "/ compiled": None,
      "of the peak": f"{compute / ours:.0%}",
      "bound, ms": 1e3 * max(compute, memory),
      "bound by": "compute" if compute >= memory else "memory",
    }
    for kind in ("PyTorch", "compiled"):
      if kind in runs:
        row[f"/ {kind}"] = median_ratio(runs["get_jax"], runs[kind])
    if on_cpu():
      for kind, times in runs.items():
        row[f"{kind}, CPU ms"] = 1e3 * median_cpu(times)
    table.append(row)
  jax.clear_caches()
  gc.collect()
  return table


def _milliseconds(seconds: Mapping[str, float], kind: str) -> float | None:
  return 1e3 * seconds[kind] if kind in seconds else None


def check_equal(
  what: str, ours: np.ndarray, torchs: np.ndarray, dtype: str
) -> None:
  """Raises AssertionError unless values agree to rounding of the dtype."""
  error = np.linalg.norm(ours - torchs) / np.linalg.norm(torchs)
  limit = 1e-4 if dtype == "float32" and on_cpu() else 6e-2
  if not error <= limit or math.isnan(error):
    raise AssertionError(
      f"the {what} differ by {error:.1e}; expected at most {limit:.0e}"
    )

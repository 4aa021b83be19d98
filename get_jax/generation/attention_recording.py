"""Attention maps along the generation of images."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Float

from get_jax.diffusion.noise import SampleNoise
from get_jax.generation.generator import Generator
from get_jax.models.base import Denoiser
from get_jax.nn.attention_maps import capture_attention


@dataclasses.dataclass(frozen=True)
class AttentionMoment:
  """Attention in one evaluation of the network.

  Attributes:
    evaluation: Number of the evaluation, from 1; of a network with an
      equilibrium layer, the number of iterations.
    evaluations: Number of all evaluations, or iterations.
    time: Time input of a denoiser; None for a one-step generator.
    inputs: Images or latents that the network gets, (n, H, W, C) float32.
    maps: Attention probabilities by layer, in the order in which layers are
      computed; see `get_jax.nn.attention_maps.capture_attention`.
  """

  evaluation: int
  evaluations: int
  time: float | None
  inputs: Float[np.ndarray, "n H W C"]
  maps: dict[str, Float[np.ndarray, "B K N M"]]


@dataclasses.dataclass(frozen=True)
class Call:
  """Arguments of one call of a network."""

  args: tuple[Any, ...]
  kwargs: dict[str, Any]


def record_calls(
  model: nn.Module,
  generator: Generator,
  params: dict[str, Any],
  noise: SampleNoise,
  y: Any,
) -> list[Call]:
  """Generates samples and returns the arguments of all calls of the network.

  Of the two inputs of a sample under guidance, only the conditional one is
  kept.

  Args:
    model: The network of the generator.
    generator: Generates the samples.
    params: Parameters, on one device.
    noise: Noise of n samples.
    y: Conditioning of the samples.
  """
  calls: list[Call] = []
  count = len(noise.keys)

  def keep(fixed: list, treedef: Any, *arrays: np.ndarray) -> None:
    rest = iter(arrays)
    leaves = [next(rest) if value is None else value for value in fixed]
    args, kwargs = jax.tree.unflatten(treedef, leaves)
    step = len(args[0]) // count
    first = jax.tree.map(lambda a: a[::step] if np.ndim(a) else a, args)
    scalars = jax.tree.map(lambda a: a[::step], kwargs)
    calls.append(Call(first, scalars))

  def interceptor(call, args, kwargs, context):
    module = context.module
    is_model = type(module) is type(model) and not module.path
    if is_model and context.method_name == "__call__":
      leaves, treedef = jax.tree.flatten((args, kwargs))
      # Numbers such as that of iterations are part of the program.
      fixed = [None if isinstance(a, jax.Array) else a for a in leaves]
      arrays = [a for a in leaves if isinstance(a, jax.Array)]
      keep_these = functools.partial(keep, fixed, treedef)
      io_callback(keep_these, None, *arrays, ordered=True)
    return call(*args, **kwargs)

  with nn.intercept_methods(interceptor):
    # Not `generator.generate` itself, whose program may be compiled already.
    jax.jit(lambda *args: generator.generate(*args))(params, noise, y)
    jax.effects_barrier()
  return calls


def attention_moments(
  model: nn.Module,
  generator: Generator,
  params: dict[str, Any],
  noise: SampleNoise,
  y: Any,
  moments: int = 8,
  layers: Sequence[str] | None = None,
) -> list[AttentionMoment]:
  """Returns the attention maps at evenly spaced moments of a generation.

  Args:
    model: The network of the generator.
    generator: Generates the samples.
    params: Parameters, on one device.
    noise: Noise of n samples.
    y: Conditioning of the samples.
    moments: Number of evaluations of the network, or of iterations of an
      equilibrium layer, the first and the last included; fewer if there are
      not so many.
    layers: Paths of the layers; None for all.

  Raises:
    UsageError: The network has no such layer.
  """
  calls = record_calls(model, generator, params, noise, y)
  calls = list(_by_iteration(calls)) if hasattr(model, "state_shape") else calls
  order: list[str] = []

  @functools.partial(jax.jit, static_argnames="iterations")
  def capture(params, *args, **kwargs):
    maps = capture_attention(model, params, *args, layers=layers, **kwargs)
    order[:] = maps
    return maps

  found = []
  positions = np.linspace(0, len(calls) - 1, min(moments, len(calls)))
  for position in np.unique(positions.round().astype(int)):
    call = calls[position]
    maps = jax.device_get(capture(params, *call.args, **call.kwargs))
    is_denoiser = isinstance(model, Denoiser)
    found.append(
      AttentionMoment(
        int(position) + 1,
        len(calls),
        float(np.mean(call.args[1])) if is_denoiser else None,
        np.asarray(call.args[0], np.float32),
        {name: maps[name] for name in order},
      )
    )
  return found


def _by_iteration(calls: Sequence[Call]) -> Iterator[Call]:
  """Yields the call of an equilibrium network for 1, 2, ... iterations."""
  for call in calls:
    *args, iterations = call.args
    for count in range(1, iterations + 1):
      yield Call(tuple(args), {"iterations": count})

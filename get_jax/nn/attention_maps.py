"""Capture of attention probabilities, which the networks do not return.

An attention layer sows its probabilities into the collection "intermediates"
if that collection is mutable, which it is only in a call that asks for it.
Programs of other calls do not change.
"""

from collections.abc import Collection
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float

from get_jax.errors import UsageError, suggest
from get_jax.nn.attention_kernels import attention_probabilities

COLLECTION = "intermediates"
NAME = "probabilities"


def is_capturing(module: nn.Module) -> bool:
  """Returns whether a bound module is called to capture its attention."""
  return module.is_mutable_collection(COLLECTION)


def sow_probabilities(
  module: nn.Module,
  q: Float[Array, "B N K d"],
  k: Float[Array, "B M K d"],
  bias: jax.Array | None = None,
) -> None:
  """Sows the attention probabilities of a layer if they are captured.

  They are computed from the layer's queries and keys in float32, whatever the
  attention implementation is.

  Args:
    module: The attention layer.
    q: Queries.
    k: Keys.
    bias: Added to the logits; broadcast to (B, K, N, M).
  """
  if is_capturing(module):
    q, k = q.astype(jnp.float32), k.astype(jnp.float32)
    module.sow(COLLECTION, NAME, attention_probabilities(q, k, bias))


def capture_attention(
  model: nn.Module,
  params: dict[str, Any],
  *inputs: Any,
  layers: Collection[str] | None = None,
  **options: Any,
) -> dict[str, Float[Array, "B K N M"]]:
  """Returns the attention probabilities of a network by layer.

  For example::

      maps = capture_attention(model, params, x, t, y)
      maps["blocks_0/attn"].sum(-1)  # ones

  The function is pure and may be compiled with `jax.jit`, with the model bound
  by `functools.partial`. Blocks are neither scanned nor rematerialised in this
  call, so the fields `scan` and `remat` have no effect. The equilibrium blocks
  of a GET are evaluated once more at the state that the solver returns; with
  the argument `iterations=k` this is the state after at most k iterations.

  Args:
    model: A network of `create_model`, or another module with attention layers
      of this package.
    params: Its parameters.
    *inputs: Arguments of its call: x, t and y of a denoiser, noise and y of a
      one-step generator.
    layers: Keys of the result to return; None for all. Inside `jax.jit` the
      maps of other layers are not computed.
    **options: Keyword arguments of its call, such as scalars, or `iterations`
      of a GET.

  Returns:
    A dict from the path of an attention layer, such as "blocks_0/attn", to
    float32 probabilities (B, heads, queries, keys), which sum to 1 over the
    keys. Layers are in the order in which they are computed (`jax.jit` sorts
    them by name). Queries and keys are all tokens of the layer in their order,
    those of time and conditioning included. Positions of feature maps are in
    row-major order. Layers with windows have the windows of a sample as
    contiguous rows of the first axis.

  Raises:
    UsageError: A name in `layers` is not that of an attention layer.
  """
  _, state = model.apply(
    {"params": params}, *inputs, mutable=[COLLECTION], **options
  )
  sown = flatten_dict(state.get(COLLECTION, {}))
  maps = {
    "/".join(path[:-1]): values[0]
    for path, values in sown.items()
    if path[-1] == NAME
  }
  for name in layers or ():
    if name not in maps:
      raise UsageError(
        f"{type(model).__name__} has no attention layer {name!r}; "
        f"{suggest(name, maps)}"
      )
  return {name: maps[name] for name in maps if layers is None or name in layers}

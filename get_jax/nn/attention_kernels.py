"""Attention implementations: XLA, cuDNN and the TPU's splash attention.

All functions take queries (B, N, K, d) and keys and values (B, M, K, d). All
but `splash_attention` also take a bias that broadcasts to (B, K, N, M). The
`unmet_*_requirement` functions return a phrase that completes "expected ...",
or None if the kernel supports the arrays.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from get_jax.nn.sharding import BATCH_AXES, mesh_axis_sizes

# Splash processes queries and keys in blocks of the largest of these sizes
# that divides the tokens, which are padded to a multiple of the smallest.
SPLASH_BLOCK_SIZES = (512, 256, 128)


def attention_probabilities(
  q: Float[Array, "B N K d"],
  k: Float[Array, "B M K d"],
  bias: jax.Array | None = None,
) -> Float[Array, "B K N M"]:
  """Returns softmax(q k^T / sqrt(d) + bias) in float32."""
  q, k = q.swapaxes(1, 2) * q.shape[-1] ** -0.5, k.swapaxes(1, 2)
  logits = jnp.einsum("bknd,bkmd->bknm", q, k).astype(jnp.float32)
  return jax.nn.softmax(logits if bias is None else logits + bias)


def xla_attention(
  q: Float[Array, "B N K d"],
  k: Float[Array, "B M K d"],
  v: Float[Array, "B M K d"],
  bias: jax.Array | None = None,
) -> Float[Array, "B N K d"]:
  """Attention as plain matrix products.

  Supports all arrays and platforms. A backward pass keeps the probabilities.
  """
  if q.dtype == jnp.float32:
    # Heads before tokens: a third less time for the backward pass on a CPU.
    weights = attention_probabilities(q, k, bias)
    out = jnp.einsum("bknm,bkmd->bknd", weights, v.swapaxes(1, 2))
    return out.swapaxes(1, 2)
  # JAX relies on promotion here.
  with jax.numpy_dtype_promotion("standard"):
    return jax.nn.dot_product_attention(q, k, v, bias, implementation="xla")


def unmet_cudnn_requirement(
  q: jax.Array, k: jax.Array, bias: jax.Array | None = None
) -> str | None:
  """Returns the requirement of cuDNN's fused attention that is not met.

  Head widths above 128 work on Hopper and later; no published model has them.
  """
  del k, bias
  if q.dtype not in (jnp.bfloat16, jnp.float16):
    return "bfloat16 or float16"
  if q.shape[-1] % 8 or q.shape[-1] > 128:
    return "head widths that are multiples of 8 up to 128"
  return None


def cudnn_attention(
  q: Float[Array, "B N K d"],
  k: Float[Array, "B M K d"],
  v: Float[Array, "B M K d"],
  bias: jax.Array | None = None,
  implementation: Literal["xla", "cudnn"] = "cudnn",
) -> Float[Array, "B N K d"]:
  """cuDNN's fused attention, without forward-mode and second derivatives.

  Its gradient requires even lengths. Odd lengths are padded by one token, and
  the sequence lengths that are passed along mask the padding.

  Args:
    q: Queries.
    k: Keys.
    v: Values.
    bias: Bias of the logits.
    implementation: Of `jax.nn.dot_product_attention`.
  """
  tokens, keys = q.shape[1], k.shape[1]
  query_lengths = key_lengths = None
  if bias is not None:
    bias = jnp.broadcast_to(bias, (*bias.shape[:2], tokens, keys))
    bias = bias.astype(q.dtype)
  if tokens % 2 or keys % 2:
    query_lengths = jnp.full(len(q), tokens, jnp.int32)
    key_lengths = jnp.full(len(q), keys, jnp.int32)
    q, k, v = (pad_tokens(a, 2) for a in (q, k, v))
    if bias is not None:
      bias = jnp.pad(bias, ((0, 0), (0, 0), (0, tokens % 2), (0, keys % 2)))
  with jax.numpy_dtype_promotion("standard"):
    out = jax.nn.dot_product_attention(
      q,
      k,
      v,
      bias,
      query_seq_lengths=query_lengths,
      key_value_seq_lengths=key_lengths,
      implementation=implementation,
    )
  return out[:, :tokens]


def unmet_splash_requirement(
  q: jax.Array, k: jax.Array, bias: jax.Array | None = None
) -> str | None:
  """Returns the requirement of the TPU's splash attention that is not met."""
  del k
  if q.dtype not in (jnp.bfloat16, jnp.float32):
    return "bfloat16 or float32"
  if bias is not None:
    return "no bias on the logits"
  return None


def splash_attention(
  q: Float[Array, "B N K d"],
  k: Float[Array, "B M K d"],
  v: Float[Array, "B M K d"],
  interpret: bool = False,
) -> Float[Array, "B N K d"]:
  """The TPU's splash attention, without forward-mode and second derivatives.

  Tokens are padded to whole blocks; the padding is a segment of its own. On a
  mesh every device computes its own samples and, if the "tensor" axis divides
  the heads, its own heads.

  Args:
    q: Queries.
    k: Keys.
    v: Values.
    interpret: Whether to run the kernel in Pallas's interpreter, which works on
      any device.
  """

  from jax.experimental.pallas.ops.tpu import splash_attention as splash

  def local(q, k, v):
    tokens, keys = q.shape[1], k.shape[1]
    scaled = q.astype(jnp.float32) * q.shape[-1] ** -0.5
    q, k, v = (
      pad_tokens(a, SPLASH_BLOCK_SIZES[-1]).swapaxes(1, 2)
      for a in (scaled.astype(q.dtype), k, v)
    )
    shape = q.shape[2], k.shape[2]
    query_block, key_block = (
      next(block for block in SPLASH_BLOCK_SIZES if n % block == 0)
      for n in shape
    )
    kernel = splash.make_splash_mha_single_device(
      splash.MultiHeadMask([splash.FullMask(shape)] * q.shape[1]),
      block_sizes=splash.BlockSizes(
        block_q=query_block,
        block_kv=key_block,
        block_q_dkv=query_block,
        block_kv_dkv=key_block,
        block_q_dq=query_block,
        block_kv_dq=key_block,
      ),
      interpret=interpret,
    )
    segments = None
    if shape != (tokens, keys):
      segments = splash.SegmentIds(
        (jnp.arange(shape[0]) >= tokens).astype(jnp.int32),
        (jnp.arange(shape[1]) >= keys).astype(jnp.int32),
      )
    batched = jax.vmap(lambda q, k, v: kernel(q, k, v, segment_ids=segments))
    return batched(q, k, v)[:, :, :tokens].swapaxes(1, 2)

  return shard_over_mesh(local, q.shape)(q, k, v)


def pad_tokens(x: Float[Array, "B N K d"], multiple: int) -> jax.Array:
  """Pads N with zeros to a multiple of `multiple`."""
  return jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, 0), (0, 0)))


def shard_over_mesh(
  local: Callable[..., jax.Array], shape: tuple[int, ...]
) -> Callable[..., jax.Array]:
  """Maps a function over the shards of its arguments on the mesh in context.

  The partitioner cannot partition a kernel and would gather its arguments.

  Args:
    local: Function of arrays (B, N, K, d), each sample and head on its own.
    shape: Shape (B, N, K, d) of the global queries.

  Returns:
    The function with B sharded over `BATCH_AXES` and K over "tensor", each
    if the axes divide it; `local` itself without a mesh.
  """
  sizes = mesh_axis_sizes()
  if not sizes:
    return local
  batch = tuple(axis for axis in BATCH_AXES if axis in sizes)
  if shape[0] % math.prod(sizes[axis] for axis in batch):
    batch = ()
  heads = (
    "tensor" if shape[2] % sizes.get("tensor", shape[2] + 1) == 0 else None
  )
  spec = PartitionSpec(batch or None, None, heads, None)
  return jax.shard_map(
    local,
    in_specs=spec,
    out_specs=spec,
    axis_names=set(sizes),
    check_vma=False,
  )

"""The kernels of attention, each with what it cannot do.

All take (B, N, K, d) queries, (B, M, K, d) keys and values and, but for the
last, a bias that broadcasts to (B, K, N, M). A refusal is the end of the
sentence "this kernel takes ...", or None where it takes the arrays.
"""

import math

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import AxisType, PartitionSpec

from get_jax.nn.sharding import BATCH_AXES

# Splash works through queries and keys in blocks of the largest of these that
# divides the tokens, padded to a multiple of the smallest.
BLOCKS = (512, 256, 128)


def attention_probabilities(
  q: jax.Array, k: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
  """softmax(q k^T / sqrt(d) + bias), (B, K, N, M) float32."""
  q, k = q.swapaxes(1, 2) * q.shape[-1] ** -0.5, k.swapaxes(1, 2)
  logits = jnp.einsum("bknd,bkmd->bknm", q, k).astype(jnp.float32)
  return jax.nn.softmax(logits if bias is None else logits + bias)


def xla(
  q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
  """Plain products, which take everything and keep the probabilities."""
  if q.dtype == jnp.float32:
    # Heads first: a third off the backward pass on CPU.
    weights = attention_probabilities(q, k, bias)
    out = jnp.einsum("bknm,bkmd->bknd", weights, v.swapaxes(1, 2))
    return out.swapaxes(1, 2)
  return jax.nn.dot_product_attention(q, k, v, bias, implementation="xla")


def cudnn_refusal(
  q: jax.Array, k: jax.Array, bias: jax.Array | None = None
) -> str | None:
  """What cuDNN's fused attention misses in these arrays.

  Head widths over 128 work from Hopper on; no published model has them.
  """
  del k, bias
  if q.dtype not in (jnp.bfloat16, jnp.float16):
    return "bfloat16 or float16"
  if q.shape[-1] % 8 or q.shape[-1] > 128:
    return "head widths that are multiples of 8 up to 128"
  return None


def cudnn(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  bias: jax.Array | None = None,
  implementation: str = "cudnn",
) -> jax.Array:
  """cuDNN's fused attention; it has no forward mode or second derivatives.

  Its gradient wants even lengths, so odd ones are padded by one token, which
  the lengths that go along hide again.

  Args:
    q: see the module.
    k: see there.
    v: see there.
    bias: see there.
    implementation: of `jax.nn.dot_product_attention`.
  """
  tokens, keys = q.shape[1], k.shape[1]
  lengths = {}
  if bias is not None:
    bias = jnp.broadcast_to(bias, (*bias.shape[:2], tokens, keys))
    bias = bias.astype(q.dtype)
  if tokens % 2 or keys % 2:
    lengths = dict(
      query_seq_lengths=jnp.full(len(q), tokens, jnp.int32),
      key_value_seq_lengths=jnp.full(len(q), keys, jnp.int32),
    )
    q, k, v = (pad_tokens(a, 2) for a in (q, k, v))
    if bias is not None:
      bias = jnp.pad(bias, ((0, 0), (0, 0), (0, tokens % 2), (0, keys % 2)))
  out = jax.nn.dot_product_attention(
    q, k, v, bias, implementation=implementation, **lengths
  )
  return out[:, :tokens]


def splash_refusal(
  q: jax.Array, k: jax.Array, bias: jax.Array | None = None
) -> str | None:
  """What the TPU's splash attention misses in these arrays."""
  del k
  if q.dtype not in (jnp.bfloat16, jnp.float32):
    return "bfloat16 or float32"
  if bias is not None:
    return "no bias on the logits"
  return None


def splash_attention(
  q: jax.Array, k: jax.Array, v: jax.Array, interpret: bool = False
) -> jax.Array:
  """The TPU's splash attention; no forward mode or second derivatives.

  Tokens are padded to whole blocks and kept apart from the padding as another
  segment. On a mesh every device works on its own samples and, where the
  "tensor" axis divides them, heads.

  Args:
    q: see the module.
    k: see there.
    v: see there.
    interpret: run the kernel's description instead of the kernel, on any
      device.
  """

  def local(q, k, v):
    tokens, keys = q.shape[1], k.shape[1]
    scaled = q.astype(jnp.float32) * q.shape[-1] ** -0.5
    padded = (
      pad_tokens(a, BLOCKS[-1]).swapaxes(1, 2)
      for a in (scaled.astype(q.dtype), k, v)
    )
    q, k, v = padded
    shape = q.shape[2], k.shape[2]
    rows, columns = (
      next(block for block in BLOCKS if n % block == 0) for n in shape
    )
    kernel = splash.make_splash_mha_single_device(
      splash.MultiHeadMask([splash.FullMask(shape)] * q.shape[1]),
      block_sizes=splash.BlockSizes(
        block_q=rows,
        block_kv=columns,
        block_q_dkv=rows,
        block_kv_dkv=columns,
        block_q_dq=rows,
        block_kv_dq=columns,
      ),
      interpret=interpret,
    )
    segments = None
    if shape != (tokens, keys):
      segments = splash.SegmentIds(
        (jnp.arange(shape[0]) >= tokens).astype(jnp.int32),
        (jnp.arange(shape[1]) >= keys).astype(jnp.int32),
      )
    each = jax.vmap(lambda q, k, v: kernel(q, k, v, segment_ids=segments))
    return each(q, k, v)[:, :, :tokens].swapaxes(1, 2)

  return on_mesh(local, q.shape)(q, k, v)


def pad_tokens(x: jax.Array, multiple: int) -> jax.Array:
  """(B, N, K, d) with zeros up to a multiple of tokens."""
  return jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, 0), (0, 0)))


def on_mesh(local, shape):
  """`local` of (B, N, K, d) arrays, on every device's share of B and K.

  The partitioner cannot look into a kernel and would gather its arguments.
  """
  mesh = jax.sharding.get_abstract_mesh()
  sizes = {
    axis: mesh.shape[axis]
    for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
    if kind == AxisType.Auto
  }
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

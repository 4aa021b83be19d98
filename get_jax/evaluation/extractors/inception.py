"""Inception-v3 used by FID (TensorFlow graph of 2015-12-05).

It is the network of Szegedy et al. 2016 in the version that Heusel et al. 2017
used. It differs from later versions in three ways: it has 1008 classes, average
pooling ignores the padding, and the last block has a max pool. Batch
normalization (epsilon 1e-3) is folded into the convolutions when weights are
loaded. Names of modules are those of the public checkpoint.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

NUM_FEATURES = 2048
NUM_CLASSES = 1008
SPATIAL_CHANNELS = 7


class Inception(nn.Module):
  """Inception-v3; all convolutions in float32 at the highest precision."""

  @nn.compact
  def __call__(self, x) -> dict[str, Any]:
    """Runs the network.

    Args:
      x: (B, 299, 299, 3) float32 from `preprocess`.

    Returns:
      pool: (B, 2048) features.
      logits_unbiased: (B, 1008), `pool @ W`, for inception scores.
      logits: (B, 1008), with the bias.
      spatial: (B, 17, 17, 7), first channels of the 1x1 branch of Mixed_6d,
        for sFID.
    """
    x = _Conv(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
    x = _Conv(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
    x = _Conv(64, (3, 3), name="Conv2d_2b_3x3")(x)
    x = _max_pool(x)
    x = _Conv(80, (1, 1), name="Conv2d_3b_1x1")(x)
    x = _Conv(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x)
    x = _max_pool(x)
    x = _MixedA(32, name="Mixed_5b")(x)
    x = _MixedA(64, name="Mixed_5c")(x)
    x = _MixedA(64, name="Mixed_5d")(x)
    x = _MixedB(name="Mixed_6a")(x)
    x = _MixedC(128, name="Mixed_6b")(x)
    x = _MixedC(160, name="Mixed_6c")(x)
    x = _MixedC(160, name="Mixed_6d")(x)
    spatial = x[..., :SPATIAL_CHANNELS]  # the 1x1 branch comes first
    x = _MixedC(192, name="Mixed_6e")(x)
    x = _MixedD(name="Mixed_7a")(x)
    x = _MixedE("average", name="Mixed_7b")(x)
    x = _MixedE("max", name="Mixed_7c")(x)
    pool = x.mean(axis=(1, 2))
    fc = _Linear(NUM_CLASSES, name="fc")
    unbiased, bias = fc(pool)
    return {
      "pool": pool,
      "logits_unbiased": unbiased,
      "logits": unbiased + bias[None],
      "spatial": spatial,
    }


class _Linear(nn.Module):
  """Dense layer that returns the product and the bias separately."""

  features: int

  @nn.compact
  def __call__(self, x):
    kernel = self.param(
      "kernel",
      nn.initializers.zeros,
      (x.shape[-1], self.features),
      jnp.float32,
    )
    bias = self.param(
      "bias", nn.initializers.zeros, (self.features,), jnp.float32
    )
    return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST), bias


class _Conv(nn.Module):
  """Convolution (with batch normalization folded in) and ReLU."""

  features: int
  kernel_size: tuple[int, int]
  stride: int = 1
  padding: str = "SAME"
  average: bool = False  # 3x3 average pool between convolution and ReLU

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(
      self.features,
      self.kernel_size,
      self.stride,
      self.padding,
      kernel_init=nn.initializers.zeros,
      precision=jax.lax.Precision.HIGHEST,
      name="conv",
    )(x)
    if self.average:
      x = nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
    return nn.relu(x)


def _max_pool(x: Array) -> Array:
  return nn.max_pool(x, (3, 3), strides=(2, 2))


def _concatenate(*branches: Array) -> Array:
  return jnp.concatenate(branches, axis=-1)


def _branch(x: Array, name: str, *convolutions: tuple) -> Array:
  """Applies convolutions, given by the arguments of `_Conv`, one by one.

  They are named `name`_1, `name`_2 and so on, as in the checkpoint.
  """
  for i, arguments in enumerate(convolutions, start=1):
    x = _Conv(*arguments, name=f"{name}_{i}")(x)
  return x


# Average pooling and a 1x1 convolution commute, so the average pools of the
# pool branches follow their convolutions, where there are fewer channels.


class _MixedA(nn.Module):
  pool_features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    return _concatenate(
      _Conv(64, (1, 1), name="branch1x1")(x),
      _branch(x, "branch5x5", (48, (1, 1)), (64, (5, 5))),
      _branch(x, "branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
      _Conv(self.pool_features, (1, 1), average=True, name="branch_pool")(x),
    )


class _MixedB(nn.Module):
  @nn.compact
  def __call__(self, x: Array) -> Array:
    return _concatenate(
      _Conv(384, (3, 3), 2, "VALID", name="branch3x3")(x),
      _branch(
        x,
        "branch3x3dbl",
        (64, (1, 1)),
        (96, (3, 3)),
        (96, (3, 3), 2, "VALID"),
      ),
      _max_pool(x),
    )


class _MixedC(nn.Module):
  width: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    c = self.width
    return _concatenate(
      _Conv(192, (1, 1), name="branch1x1")(x),
      _branch(x, "branch7x7", (c, (1, 1)), (c, (1, 7)), (192, (7, 1))),
      _branch(
        x,
        "branch7x7dbl",
        (c, (1, 1)),
        (c, (7, 1)),
        (c, (1, 7)),
        (c, (7, 1)),
        (192, (1, 7)),
      ),
      _Conv(192, (1, 1), average=True, name="branch_pool")(x),
    )


class _MixedD(nn.Module):
  @nn.compact
  def __call__(self, x: Array) -> Array:
    return _concatenate(
      _branch(x, "branch3x3", (192, (1, 1)), (320, (3, 3), 2, "VALID")),
      _branch(
        x,
        "branch7x7x3",
        (192, (1, 1)),
        (192, (1, 7)),
        (192, (7, 1)),
        (192, (3, 3), 2, "VALID"),
      ),
      _max_pool(x),
    )


class _MixedE(nn.Module):
  pool: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    a = _Conv(320, (1, 1), name="branch1x1")(x)
    b = _Conv(384, (1, 1), name="branch3x3_1")(x)
    b = _concatenate(
      _Conv(384, (1, 3), name="branch3x3_2a")(b),
      _Conv(384, (3, 1), name="branch3x3_2b")(b),
    )
    c = _branch(x, "branch3x3dbl", (448, (1, 1)), (384, (3, 3)))
    c = _concatenate(
      _Conv(384, (1, 3), name="branch3x3dbl_3a")(c),
      _Conv(384, (3, 1), name="branch3x3dbl_3b")(c),
    )
    average = self.pool == "average"
    if not average:
      x = nn.max_pool(x, (3, 3), padding="SAME")
    d = _Conv(192, (1, 1), average=average, name="branch_pool")(x)
    return _concatenate(a, b, c, d)

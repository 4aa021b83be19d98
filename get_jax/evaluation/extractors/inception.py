"""Inception-v3 as FID knows it: the network of 2015-12-05.

Szegedy et al. 2016, in the edition that Heusel et al. 2017 measured with: it
differs from later ones in 1008 classes, in average pools that count real
pixels only, and in a max pool in the last block. Batch normalisation (epsilon
1e-3) is folded into the convolutions when weights are loaded. Names of modules
are those of the public checkpoint.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

NUM_FEATURES = 2048
NUM_CLASSES = 1008
SPATIAL_CHANNELS = 7


class Inception(nn.Module):
  """Inception-v3; every convolution in float32 at highest precision."""

  @nn.compact
  def __call__(self, x) -> dict[str, Any]:
    """Runs the network.

    Args:
      x: (B, 299, 299, 3) float32 from `preprocess`.

    Returns:
      pool: (B, 2048) features.
      logits_unbiased: (B, 1008), `pool @ W`: what inception scores take.
      logits: (B, 1008), with the bias.
      spatial: (B, 17, 17, 7), first channels of the 1x1 branch of Mixed_6d:
        what sFID measures.
    """
    x = _Conv(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
    x = _Conv(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
    x = _Conv(64, (3, 3), name="Conv2d_2b_3x3")(x)
    x = _halve(x)
    x = _Conv(80, (1, 1), name="Conv2d_3b_1x1")(x)
    x = _Conv(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x)
    x = _halve(x)
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
      "logits": unbiased + bias,
      "spatial": spatial,
    }


class _Linear(nn.Module):
  """Gives product and bias apart."""

  features: int

  @nn.compact
  def __call__(self, x):
    kernel = self.param(
      "kernel", nn.initializers.zeros, (x.shape[-1], self.features)
    )
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST), bias


class _Conv(nn.Module):
  """Convolution (with its batch normalisation folded in) and ReLU."""

  features: int
  kernel_size: tuple[int, int]
  stride: int = 1
  padding: str = "SAME"
  average: bool = False  # 3x3 mean between convolution and ReLU

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


def _halve(x):
  return nn.max_pool(x, (3, 3), strides=(2, 2))


def _join(*towers):
  return jnp.concatenate(towers, axis=-1)


# A mean over pixels and a 1x1 convolution commute, so the average pools of
# the pool branches come after their convolutions, where channels are fewer.


class _MixedA(nn.Module):
  pool_features: int

  @nn.compact
  def __call__(self, x):
    a = _Conv(64, (1, 1), name="branch1x1")(x)
    b = _Conv(48, (1, 1), name="branch5x5_1")(x)
    b = _Conv(64, (5, 5), name="branch5x5_2")(b)
    c = _Conv(64, (1, 1), name="branch3x3dbl_1")(x)
    c = _Conv(96, (3, 3), name="branch3x3dbl_2")(c)
    c = _Conv(96, (3, 3), name="branch3x3dbl_3")(c)
    d = _Conv(self.pool_features, (1, 1), average=True, name="branch_pool")(x)
    return _join(a, b, c, d)


class _MixedB(nn.Module):
  @nn.compact
  def __call__(self, x):
    a = _Conv(384, (3, 3), 2, "VALID", name="branch3x3")(x)
    b = _Conv(64, (1, 1), name="branch3x3dbl_1")(x)
    b = _Conv(96, (3, 3), name="branch3x3dbl_2")(b)
    b = _Conv(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(b)
    return _join(a, b, _halve(x))


class _MixedC(nn.Module):
  width: int

  @nn.compact
  def __call__(self, x):
    c = self.width
    a = _Conv(192, (1, 1), name="branch1x1")(x)
    b = _Conv(c, (1, 1), name="branch7x7_1")(x)
    b = _Conv(c, (1, 7), name="branch7x7_2")(b)
    b = _Conv(192, (7, 1), name="branch7x7_3")(b)
    d = _Conv(c, (1, 1), name="branch7x7dbl_1")(x)
    d = _Conv(c, (7, 1), name="branch7x7dbl_2")(d)
    d = _Conv(c, (1, 7), name="branch7x7dbl_3")(d)
    d = _Conv(c, (7, 1), name="branch7x7dbl_4")(d)
    d = _Conv(192, (1, 7), name="branch7x7dbl_5")(d)
    e = _Conv(192, (1, 1), average=True, name="branch_pool")(x)
    return _join(a, b, d, e)


class _MixedD(nn.Module):
  @nn.compact
  def __call__(self, x):
    a = _Conv(192, (1, 1), name="branch3x3_1")(x)
    a = _Conv(320, (3, 3), 2, "VALID", name="branch3x3_2")(a)
    b = _Conv(192, (1, 1), name="branch7x7x3_1")(x)
    b = _Conv(192, (1, 7), name="branch7x7x3_2")(b)
    b = _Conv(192, (7, 1), name="branch7x7x3_3")(b)
    b = _Conv(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(b)
    return _join(a, b, _halve(x))


class _MixedE(nn.Module):
  pool: str

  @nn.compact
  def __call__(self, x):
    a = _Conv(320, (1, 1), name="branch1x1")(x)
    b = _Conv(384, (1, 1), name="branch3x3_1")(x)
    b = _join(
      _Conv(384, (1, 3), name="branch3x3_2a")(b),
      _Conv(384, (3, 1), name="branch3x3_2b")(b),
    )
    c = _Conv(448, (1, 1), name="branch3x3dbl_1")(x)
    c = _Conv(384, (3, 3), name="branch3x3dbl_2")(c)
    c = _join(
      _Conv(384, (1, 3), name="branch3x3dbl_3a")(c),
      _Conv(384, (3, 1), name="branch3x3dbl_3b")(c),
    )
    average = self.pool == "average"
    if not average:
      x = nn.max_pool(x, (3, 3), padding="SAME")
    d = _Conv(192, (1, 1), average=average, name="branch_pool")(x)
    return _join(a, b, c, d)

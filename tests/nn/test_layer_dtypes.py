"""Times, noise levels and features of every dtype against float64."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.nn.attention import attend
from get_jax.nn.equilibrium import Equilibrium
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.normalization import SpectralNorm, WeightNorm
from get_jax.nn.timestep_embedding import TimestepEmbed, timestep_sinusoid
from get_jax.nn.unet_block import UNetBlock, group_norm

DTYPES = ("int32", "bfloat16", "float16", "float32", "float64")
T = np.array([0, 1, 2, 250, 992])


@contextlib.contextmanager
def given_as(dtype):
  """Converts numbers to a dtype; float64 needs the mode of 64 bits."""
  context = jax.enable_x64 if dtype == "float64" else contextlib.nullcontext
  with context(True):
    yield lambda values: jnp.asarray(values, dtype)


def sinusoid(t, frequencies):
  angles = t[:, None] * frequencies[None]
  return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sinusoids(dtype):
  k = np.arange(8)
  freqs = np.linspace(-0.5, 0.5, 8).astype(np.float32)
  with given_as(dtype) as given:
    found = [
      timestep_sinusoid(given(T), 16),
      noise_sinusoid(given(T), 16, endpoint=False),
      noise_sinusoid(given(T), 16, endpoint=True),
      FourierEmbed(16).apply({"params": {"freqs": freqs}}, given(T)),
    ]
  expected = [
    sinusoid(T, 10000 ** (-k / 8)),
    sinusoid(T, 10000 ** (-k / 8)),
    sinusoid(T, 10000 ** (-k / 7)),
    sinusoid(T, 2 * np.pi * freqs.astype(np.float64)),
  ]
  for got, want in zip(found, expected, strict=True):
    assert got.dtype == jnp.float32
    # An angle of 2 pi 500 has a rounding error of 1e-4 in float32.
    np.testing.assert_allclose(got, want, atol=3e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_of_the_time(dtype):
  module = TimestepEmbed(8)
  variables = module.init(jax.random.key(0), jnp.asarray(T, jnp.float32))
  with given_as(dtype) as given:
    found = module.apply(variables, given(T))
  expected = module.apply(variables, jnp.asarray(T, jnp.float32))
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
  "dtype, error",
  [("bfloat16", 1e-2), ("float16", 2e-3), ("float32", 1e-6)],
)
def test_attention(dtype, error):
  rng = np.random.default_rng(0)
  q, k, v = rng.integers(-2, 3, (3, 2, 5, 2, 4))
  bias = rng.integers(-2, 3, (1, 2, 5, 5))
  logits = np.einsum("bnkd,bmkd->bknm", q, k) / 2 + bias
  weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
  weights /= weights.sum(axis=-1, keepdims=True)
  expected = np.einsum("bknm,bmkd->bnkd", weights, v)
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    found = attend(
      *(jnp.asarray(a, dtype) for a in (q, k, v)),
      bias=jnp.asarray(bias, jnp.float32),
      implementation="xla",
    )
  assert found.dtype == dtype
  np.testing.assert_allclose(
    np.asarray(found, np.float64), expected, atol=2 * error
  )


class Block(nn.Module):
  """A contraction with a convolution, whose kernel has four axes."""

  @nn.compact
  def __call__(self, z, x):
    z = nn.Conv(4, (3, 3), name="conv")(z)
    return jnp.tanh(0.1 * z + x)


@pytest.mark.parametrize("norm", [WeightNorm(clip=1.0), SpectralNorm()])
def test_normalised_layers_promote_nothing(norm):
  layer = Equilibrium(block=Block(), normalization=norm)
  z = jax.ShapeDtypeStruct((2, 4, 4, 4), jnp.float32)

  def loss(z, x):
    variables = layer.init(jax.random.key(0), z, x)
    return layer.apply(variables, z, x).value.sum()

  for mode in (
    jax.numpy_rank_promotion("raise"),
    jax.numpy_dtype_promotion("strict"),
    jax.enable_x64(True),
  ):
    with mode:
      assert jax.eval_shape(jax.grad(loss), z, z).dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_group_norm_has_float32_statistics(dtype):
  x = np.random.default_rng(0).integers(90, 110, (2, 4, 4, 16))
  wide = x.reshape(2, 16, 4, 4).astype(np.float64)
  mean = wide.mean(axis=(1, 3), keepdims=True)
  std = wide.std(axis=(1, 3), keepdims=True)
  expected = ((wide - mean) / std).reshape(x.shape)

  class Norm(nn.Module):
    @nn.compact
    def __call__(self, x):
      return group_norm("norm", x, 1e-6, dtype)

  found, _ = Norm().init_with_output(jax.random.key(0), jnp.asarray(x, dtype))
  assert found.dtype == dtype
  error = 1e-2 if dtype == "bfloat16" else 1e-5
  np.testing.assert_allclose(
    np.asarray(found, np.float64), expected, atol=error
  )


def test_parameters_are_float32_with_64_bits():
  block = UNetBlock(8, num_heads=1, tmsa=True)
  x = jax.ShapeDtypeStruct((2, 4, 4, 4), jnp.float32)
  embedding = jax.ShapeDtypeStruct((2, 6), jnp.float32)
  with jax.enable_x64(True):
    out, variables = jax.eval_shape(
      block.init_with_output, jax.random.key(0), x, embedding
    )
  leaves = jax.tree.leaves((out, variables))
  assert {str(leaf.dtype) for leaf in leaves} == {"float32"}

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.autoencoder import AutoencoderKL, create_autoencoder
from get_jax.interop.autoencoder import load_autoencoder
from get_jax.models.parameters import abstract_params


@pytest.mark.parametrize(
  "name, count, tensors",
  [
    ("SD", 83_653_863, 248),
    ("SDXL", 83_653_863, 248),
    ("SD3", 83_819_683, 244),
    ("FLUX.1", 83_819_683, 244),
  ],
)
def test_published_sizes(name, count, tensors):
  leaves = jax.tree.leaves(abstract_params(create_autoencoder(name)))
  assert sum(math.prod(leaf.shape) for leaf in leaves) == count
  assert len(leaves) == tensors


def test_latents_are_eight_times_smaller():
  model = create_autoencoder("SD")
  params = abstract_params(model)
  images = jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32)

  def encode(params, x):
    return model.apply({"params": params}, x, method="encode")

  assert jax.eval_shape(encode, params, images).shape == (1, 64, 64, 8)
  assert model.downsample == 8


def test_scales_are_undone():
  model = create_autoencoder("FLUX.1")
  z = np.linspace(-3, 3, 7, dtype=np.float32)
  np.testing.assert_allclose(model.unscale(model.scale(z)), z, rtol=1e-5)


def test_mistakes_are_named(tmp_path):
  with pytest.raises(ValueError, match="'SD4'; expected one of: SD, SDXL"):
    create_autoencoder("SD4")
  with pytest.raises(ValueError, match="unexpected keyword argument 'depth'"):
    create_autoencoder(depth=3)
  with pytest.raises(ValueError, match=r"there is no .*config\.json"):
    load_autoencoder(tmp_path)
  (tmp_path / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="holds no weights"):
    load_autoencoder(tmp_path)
  assert AutoencoderKL().scaling_factor == 0.18215

"""A fixture that writes a tiny autoencoder to disk."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from get_jax.autoencoder import create_autoencoder
from get_jax.interop.official import export_official
from get_jax.models.parameters import abstract_params


@pytest.fixture(scope="session")
def tiny_autoencoder(tmp_path_factory):
  """`write(**fields) -> (folder, model, params)`, with random weights.

  The folder has the format of published autoencoders. Images are twice as large
  as latents.
  """

  def write(**fields):
    fields = dict(
      block_out_channels=(2, 4),
      layers_per_block=1,
      norm_num_groups=2,
      **fields,
    )
    folder = tmp_path_factory.mktemp("autoencoder")
    model = create_autoencoder(**fields)
    rng = np.random.RandomState(0)
    params = jax.tree.map(
      lambda x: 0.3 * rng.standard_normal(x.shape).astype(np.float32),
      abstract_params(model),
    )
    (folder / "config.json").write_text(json.dumps(fields))
    safetensors.numpy.save_file(
      export_official(model, params),
      folder / "diffusion_pytorch_model.safetensors",
    )
    return folder, model, params

  return write

"""The KL-autoencoder: sizes, settings and names in weight files."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from get_jax.autoencoder import AutoencoderKL, create_autoencoder
from get_jax.interop.official import export_official
from get_jax.interop.pretrained import load_autoencoder
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


@pytest.mark.parametrize(
  "name, channels, scale, shift, quant",
  [
    ("SD", 4, 0.18215, 0.0, True),
    ("SDXL", 4, 0.13025, 0.0, True),
    ("SD3", 16, 1.5305, 0.0609, False),
    ("FLUX.1", 16, 0.3611, 0.1159, False),
  ],
)
def test_published_settings(name, channels, scale, shift, quant):
  model = create_autoencoder(name)
  assert model.latent_channels == channels
  assert (model.scaling_factor, model.shift_factor) == (scale, shift)
  assert model.use_quant_conv == model.use_post_quant_conv == quant
  assert model.block_out_channels == (128, 256, 512, 512)
  assert model.layers_per_block == 2 and model.norm_num_groups == 32


def old_attention(name):
  """Returns the name of an attention tensor in diffusers until 2022."""
  words = {"to_q": "query", "to_k": "key", "to_v": "value"}
  words["to_out.0"] = "proj_attn"
  for new, old in words.items():
    name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
  return name


def latent_diffusion(name):
  """Returns the name in the code of latent diffusion, for three levels."""
  for new, old in {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
    "mid_block.attentions.0.to_": "mid.attn_1.",
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
    "down_blocks.": "down.",
    "resnets.": "block.",
  }.items():
    name = name.replace(new, old)
  for level in range(3):
    name = name.replace(f"up_blocks.{level}.", f"up.{2 - level}.")
  return name


@pytest.mark.parametrize(
  "naming", ["diffusers", "old", "latent diffusion", "single file"]
)
def test_namings_of_weight_files(naming, tmp_path):
  fields = dict(
    block_out_channels=(2, 4, 6), layers_per_block=1, norm_num_groups=2
  )
  model, rng = create_autoencoder(**fields), np.random.RandomState(0)
  params = jax.tree.map(
    lambda x: rng.standard_normal(x.shape).astype(np.float32),
    abstract_params(model),
  )
  tensors = export_official(model, params)
  assert "decoder.up_blocks.0.upsamplers.0.conv.weight" in tensors
  if naming == "old":
    tensors = {old_attention(k): v for k, v in tensors.items()}
    assert "encoder.mid_block.attentions.0.query.weight" in tensors
  elif naming != "diffusers":
    tensors = {latent_diffusion(k): v for k, v in tensors.items()}
    for name, tensor in tensors.items():
      if ".attn_1." in name and tensor.ndim == 2:
        tensors[name] = tensor[:, :, None, None]
    assert tensors["decoder.mid.attn_1.proj_out.weight"].ndim == 4
  if naming == "single file":
    tensors = {f"first_stage_model.{k}": v for k, v in tensors.items()}
    tensors["cond_stage_model.logit_scale"] = np.ones(3, np.float32)
  path = tmp_path / "vae.safetensors"
  safetensors.numpy.save_file(tensors, path)
  _, found = load_autoencoder(path, **fields)
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_latents_are_eight_times_smaller():
  model = create_autoencoder("SD")
  params = abstract_params(model)
  images = jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32)

  def encode(params, x):
    return model.apply({"params": params}, x, method="encode")

  assert jax.eval_shape(encode, params, images).shape == (1, 64, 64, 8)
  assert model.downsample == 8


def test_unscale_inverts_scale():
  model = create_autoencoder("FLUX.1")
  z = np.linspace(-3, 3, 7, dtype=np.float32)
  np.testing.assert_allclose(model.unscale(model.scale(z)), z, rtol=1e-5)


def test_errors(tmp_path):
  with pytest.raises(ValueError, match="'SD4'; expected one of: SD, SDXL"):
    create_autoencoder("SD4")
  with pytest.raises(ValueError, match="unexpected keyword argument 'depth'"):
    create_autoencoder(depth=3)
  with pytest.raises(ValueError, match=r"config\.json does not exist"):
    load_autoencoder(tmp_path)
  (tmp_path / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="holds no weights"):
    load_autoencoder(tmp_path)
  assert AutoencoderKL().scaling_factor == 0.18215

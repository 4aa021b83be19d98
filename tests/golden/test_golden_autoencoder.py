"""The autoencoder against diffusers' AutoencoderKL."""

import functools

import jax
import numpy as np
import pytest
from golden_numbers import fast_compile_jit, nhwc, relative

from get_jax.autoencoder import (
  AutoencoderKL,
  create_autoencoder,
  decode_in_parts,
  posterior,
)
from get_jax.interop.official import export_official, load_official
from get_jax.interop.pretrained import load_autoencoder

IGNORED = ("down_block_types", "up_block_types", "act_fn", "sample_size")


def module(config):
  fields = {k: v for k, v in config.items() if k not in (*IGNORED,)}
  fields.pop("out_channels")
  fields["block_out_channels"] = tuple(fields["block_out_channels"])
  return create_autoencoder(**fields)


def method(model, params, name):
  return fast_compile_jit(
    functools.partial(model.apply, {"params": params}, method=name)
  )


def check(model, params, arrays):
  moments = method(model, params, "encode")(nhwc(arrays["in/image"]))
  mean, logvar = posterior.split(moments)
  assert relative(mean, nhwc(arrays["out/mean"])) < 1e-5
  assert relative(logvar, nhwc(arrays["out/logvar"])) < 1e-5
  sample = posterior.sample(moments, nhwc(arrays["in/noise"]))
  error = np.abs(sample - nhwc(arrays["out/sample"]))
  assert (error / (1 + np.exp(logvar / 2))).max() < 1e-3
  assert relative(posterior.kl(moments), arrays["out/kl"]) < 1e-4
  scaled = model.scale(mean)
  assert relative(scaled, nhwc(arrays["out/scaled_mode"])) < 1e-5
  latent = nhwc(arrays["in/latent"])
  decode = method(model, params, "decode")
  assert relative(decode(latent), nhwc(arrays["out/decoded"])) < 1e-5
  decoded = decode(model.unscale(latent))
  assert relative(decoded, nhwc(arrays["out/decoded_from_scaled"])) < 1e-5


@pytest.mark.parametrize(
  "name",
  [
    "sd_four_levels",
    "sd_odd_size_small_activations",
    "flux_like_16ch_no_quant",
  ],
)
def test_encode_and_decode(golden, name):
  case = golden(f"vae/{name}")
  model = module(case.meta["config"])
  official = case.under("param")
  params = load_official(model, official)
  check(model, params, case.arrays)
  exported = export_official(model, params)
  assert exported.keys() == official.keys()
  for key, tensor in official.items():
    np.testing.assert_array_equal(exported[key], tensor.astype(np.float32))


def test_names_of_latent_diffusion_alone_and_in_a_single_file(golden):
  case, same = (
    golden(f"vae/sd_four_levels{suffix}") for suffix in ("_ldm_names", "")
  )
  model = module(case.meta["config"])
  plain = load_official(model, case.under("param"))
  expected = load_official(model, same.under("param"))
  jax.tree.map(np.testing.assert_array_equal, plain, expected)
  single = {f"first_stage_model.{k}": v for k, v in case.under("param").items()}
  single["model.diffusion_model.out.0.weight"] = np.zeros(3, np.float16)
  found = load_official(model, single)
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  latent = nhwc(case.arrays["in/latent"])
  decoded = fast_compile_jit(
    lambda z: decode_in_parts(model, plain, z, part=1)
  )(latent)
  assert relative(decoded, nhwc(case.arrays["out/decode_scaled"])) < 1e-5


def test_a_hub_folder_with_the_old_names(golden, golden_dir):
  case = golden("vae/checkpoint_dir_old_names_expected")
  folder = golden_dir / "vae" / "checkpoint_dir_old_names"
  model, params = load_autoencoder(folder)
  assert isinstance(model, AutoencoderKL)
  assert model.scaling_factor == 0.18215
  check(model, params, case.arrays)

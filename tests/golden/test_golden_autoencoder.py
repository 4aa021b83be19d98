"""The autoencoder against diffusers' AutoencoderKL."""

import functools
import json

import jax
import numpy as np
from cases import cases, files, find
from golden_numbers import fast_compile_jit, nhwc, relative
from tolerances import tolerance

from get_jax.autoencoder import (
  AutoencoderKL,
  create_autoencoder,
  decode_in_parts,
  posterior,
)
from get_jax.interop.official import export_official, load_official
from get_jax.interop.pretrained import load_autoencoder

# Entries of a published config that our module has no use for.
IGNORED = {
  "act_fn",
  "down_block_types",
  "force_upcast",
  "mid_block_add_attention",
  "out_channels",
  "sample_size",
  "up_block_types",
}
LDM = "_ldm_names"
FOLDER_FILES = files("vae/*/*")


def module(config):
  assert config.get("act_fn", "silu") == "silu"
  assert config.get("mid_block_add_attention", True)
  assert config["out_channels"] == config["in_channels"]
  fields = {k: v for k, v in config.items() if k not in IGNORED}
  fields = {k: v for k, v in fields.items() if v is not None}
  fields["block_out_channels"] = tuple(fields["block_out_channels"])
  return create_autoencoder(**fields)


def method(model, params, name):
  return fast_compile_jit(
    functools.partial(model.apply, {"params": params}, method=name)
  )


def check(case, model, params):
  given, out = case.under("in"), case.under("out")
  limit = functools.partial(tolerance, case, "vae")
  moments = method(model, params, "encode")(nhwc(given["image"]))
  mean, logvar = posterior.split(moments)
  assert relative(mean, nhwc(out["mean"])) < limit("mean")
  assert relative(logvar, nhwc(out["logvar"])) < limit("logvar")
  assert relative(mean, nhwc(out["mode"])) < limit("mean")
  std = nhwc(out["std"])
  for channel in range(std.shape[-1]):
    got = np.exp(logvar[..., channel] / 2)
    assert relative(got, std[..., channel]) < limit("sample"), channel
  sample = posterior.sample(moments, nhwc(given["noise"]))
  error = np.abs(sample - nhwc(out["sample"]))
  assert (error / (1 + np.exp(logvar / 2))).max() < limit("sample")
  assert relative(posterior.kl(moments), out["kl"]) < limit("kl")
  scaled = model.scale(mean)
  assert relative(scaled, nhwc(out["scaled_mode"])) < limit("mean")
  latent = nhwc(given["latent"])
  decode = method(model, params, "decode")
  assert relative(decode(latent), nhwc(out["decoded"])) < limit("decoded")
  decoded = decode(model.unscale(latent))
  expected = nhwc(out["decoded_from_scaled"])
  assert relative(decoded, expected) < limit("decoded")


@cases(
  "vae/*.npz", lambda case: "config" in case.meta and "out/mean" in case.names
)
def test_encode_and_decode(case):
  model = module(case.meta["config"])
  official = case.under("param")
  params = load_official(model, official)
  check(case, model, params)
  exported = export_official(model, params)
  assert exported.keys() == official.keys()
  for key, tensor in official.items():
    np.testing.assert_array_equal(exported[key], tensor.astype(np.float32))


@cases(f"vae/*{LDM}.npz")
def test_names_of_latent_diffusion_alone_and_in_a_single_file(case):
  (same,) = find(f"vae/{case.path.stem.removesuffix(LDM)}.npz")
  model = module(case.meta["config"])
  tensors = case.under("param")
  plain = load_official(model, tensors)
  expected = load_official(model, same.under("param"))
  jax.tree.map(np.testing.assert_array_equal, plain, expected)
  single = {f"first_stage_model.{k}": v for k, v in tensors.items()}
  single["model.diffusion_model.out.0.weight"] = np.zeros(3, np.float16)
  got = load_official(model, single)
  jax.tree.map(np.testing.assert_array_equal, got, expected)
  moments = method(model, plain, "encode")(nhwc(case.arrays["in/image"]))
  mean, _ = posterior.split(moments)
  expected_mean, _ = posterior.split(nhwc(case.arrays["out/moments"]))
  assert relative(mean, expected_mean) < tolerance(case, "vae", "mean")
  decoded = fast_compile_jit(
    lambda z: decode_in_parts(model, plain, z, part=1)
  )(nhwc(case.arrays["in/latent"]))
  expected = nhwc(case.arrays["out/decode_scaled"])
  assert relative(decoded, expected) < tolerance(case, "vae", "decoded")


def hub_folder(case):
  """The folder whose numbers a case holds."""
  return case.path.with_name(case.path.stem.removesuffix("_expected"))


def test_every_folder_has_expected_numbers():
  described = {hub_folder(case) for case in find("vae/*_expected.npz")}
  assert {path.parent for path in FOLDER_FILES} == described


@cases("vae/*_expected.npz")
def test_a_hub_folder_with_the_old_names(case):
  folder = hub_folder(case)
  config = json.loads((folder / "config.json").read_text())
  model, params = load_autoencoder(folder)
  assert isinstance(model, AutoencoderKL)
  assert model.block_out_channels == tuple(config["block_out_channels"])
  # The published default.
  assert model.scaling_factor == config.get("scaling_factor", 0.18215)
  check(case, model, params)

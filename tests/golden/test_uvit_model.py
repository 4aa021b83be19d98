"""U-ViT against the official code: forward, gradients, training, sampling."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import cases
from golden_numbers import (
  chw_to_hwc,
  fast_compile_jit,
  nhwc,
  official_process,
  relative,
  replay,
)
from ml_collections import ConfigDict
from tolerances import tolerance

from get_jax.autoencoder import create_autoencoder, posterior
from get_jax.diffusion import Guidance, create_sampler
from get_jax.interop.official import export_official, load_official
from get_jax.models import create_model
from get_jax.nn.patches import patchify, unpatchify
from get_jax.nn.timestep_embedding import timestep_sinusoid
from get_jax.training.optimizer import create_optimizer

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
FIELDS = {
  "img_size": "input_size",
  "in_chans": "in_channels",
  "embed_dim": "hidden_size",
  "num_clip_token": "context_tokens",
  "clip_dim": "context_features",
}
SKIPS = {"concat": "concat", "addition": "add", "none": "none"}


def uvit(case):
  """Returns the model and the parameters of a case."""
  meta = case.meta
  fields = {FIELDS.get(k, k): v for k, v in meta["constructor"].items()}
  mode = "concat" if fields.pop("skip", True) else "none"
  fields["skip"] = SKIPS[meta.get("skip_mode", mode)]
  fields["num_classes"] = max(fields.get("num_classes", 0), 0)
  model = create_model("U-ViT", **fields)
  return model, load_official(model, case.under("param"))


def conditioning(case):
  """Returns the labels or the text of a case, or None."""
  y = case.arrays.get("in/y", case.arrays.get("in/context"))
  return None if y is None else jnp.asarray(y)


def null_conditioning(case, model):
  """Returns the empty text, or the index of the null class."""
  return case.arrays.get("in/empty_context", model.num_classes - 1)


@cases("uvit/model_*.npz")
def test_forward_and_gradients(case):
  model, params = uvit(case)
  limits = {
    name: tolerance(case, "uvit/forward", name)
    for name in ("out", "mid", "grad")
  }
  x, t = nhwc(case.arrays["in/x"]), case.arrays["in/timesteps"]
  y, weights = conditioning(case), nhwc(case.arrays["in/cotangent"])

  @fast_compile_jit
  def run(params, x):
    def loss(params, x):
      out, kept = model.apply(
        {"params": params},
        x,
        t,
        y,
        capture_intermediates=lambda module, _: (
          module.name in ("mid_block", "decoder")
        ),
        mutable=["intermediates"],
      )
      return jnp.sum(out * weights), (out, kept["intermediates"])

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  (grads, grad_x), (out, kept) = run(params, x)
  assert relative(out, nhwc(case.arrays["out/out"])) < limits["out"]
  middle = kept["mid_block"]["__call__"][0]
  assert relative(middle, case.arrays["mid/mid_block"]) < limits["mid"]
  decoded = kept["decoder"]["__call__"][0]
  expected = case.arrays["mid/decoder_pred"][:, -decoded.shape[1] :]
  assert relative(decoded, expected) < limits["mid"]
  official = export_official(model, grads)
  for name, expected in case.under("grad").items():
    assert relative(official[name], expected) < limits["grad"], name
  expected = nhwc(case.arrays["grad_in/x"])
  assert relative(grad_x, expected) < limits["grad"]


@cases("uvit/model_*.npz")
def test_names(case):
  model, params = uvit(case)
  exported, expected = export_official(model, params), case.under("param")
  assert exported.keys() == expected.keys()
  for name, tensor in expected.items():
    np.testing.assert_array_equal(exported[name], tensor)


@cases("uvit/embedding_and_patches*.npz")
def test_pieces(case):
  arrays, patch = case.arrays, case.meta["patch"]
  t = jnp.asarray(arrays["in/t"])
  dims = [
    int(found[1])
    for name in arrays
    if (found := re.fullmatch(r"out/embedding_(\d+)", name))
  ]
  assert dims
  for dim in dims:
    got, expected = timestep_sinusoid(t, dim), arrays[f"out/embedding_{dim}"]
    assert relative(got, expected) < tolerance(case, "uvit/pieces", "embedding")
  grid = (patch["grid"], patch["grid"])
  image = unpatchify(arrays["in/tokens"], grid, patch["patch_size"])
  np.testing.assert_array_equal(image, nhwc(arrays["out/unpatchified"]))
  np.testing.assert_array_equal(
    patchify(image, patch["patch_size"]), arrays["out/patchified_again"]
  )


@cases("uvit/train_steps_*.npz")
def test_training_steps(case):
  model, start = uvit(case)
  meta, arrays = case.meta, case.arrays
  process = official_process(
    {"vp": "vp", "sd": "stable_diffusion"}[meta["mode"]],
    meta.get("schedule_args", meta.get("vpsde")),
  )
  settings = meta["optimizer"]
  optimizer = create_optimizer(
    ConfigDict(
      dict(
        learning_rate=settings["lr"],
        schedule="constant",
        warmup_steps=meta["warmup_steps"],
        b1=settings["betas"][0],
        b2=settings["betas"][1],
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
        clip_norm=0.0,
      )
    ),
    meta["n_steps"],
  )

  @fast_compile_jit
  def step(params, ema, state, x0, noise, y, time):
    def loss(params):
      losses, _ = process.loss_at(
        lambda x, t: model.apply({"params": params}, x, t, y), x0, time, noise
      )
      return losses.mean(), losses

    (_, losses), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, ema, 1 - meta["ema_rate"])
    return params, ema, state, losses

  if "in/t" in arrays:
    times = arrays["in/t"].astype(np.float32)
  else:
    times = arrays["in/n"] - 1
  y = arrays.get("in/y", arrays.get("in/context"))
  params = ema = start
  state = fast_compile_jit(optimizer.init)(start)
  for i in range(meta["n_steps"]):
    params, ema, state, losses = step(
      params,
      ema,
      state,
      nhwc(arrays["in/x0"][i]),
      nhwc(arrays["in/eps"][i]),
      None if y is None else y[i],
      times[i],
    )
    limit = tolerance(case, "uvit/train", "loss")
    assert relative(losses, arrays["out/loss"][i]) < limit
  for kind, tree in (("delta", params), ("ema_delta", ema)):
    moved = jax.tree.map(lambda a, b: np.float32(a) - b, tree, start)
    ours, theirs = export_official(model, moved), case.under(f"out/{kind}")
    assert ours.keys() == theirs.keys()
    flat = [
      np.concatenate([tree[key].ravel() for key in theirs])
      for tree in (ours, theirs)
    ]
    assert relative(*flat) < tolerance(case, "uvit/train", kind)


@cases("uvit/cfg_*.npz")
def test_guidance(case):
  model, params = uvit(case)
  x = jnp.asarray(nhwc(case.arrays["in/x"]))
  t, y = jnp.asarray(case.arrays["in/timesteps"]), conditioning(case)
  null = null_conditioning(case, model)
  limit = tolerance(case, "uvit/guidance")

  @fast_compile_jit
  def net(x, t, y):
    return model.apply({"params": params}, x, t, y)

  expected = case.under("out")
  scales = {
    name: float(name.removeprefix("cfg_"))
    for name in expected
    if name.startswith("cfg_")
  }
  assert sorted(scales.values()) == sorted(case.meta["scales"])
  for name, scale in scales.items():
    guidance = Guidance(scale, convention="u-vit")
    out = guidance(net, y, null)(x, t)
    assert relative(out, nhwc(expected[name])) < limit, name
  empty = jnp.broadcast_to(jnp.asarray(null, y.dtype), y.shape)
  for name, condition in {"cond": y, "uncond": empty}.items():
    if name in expected:
      assert relative(net(x, t, condition), nhwc(expected[name])) < limit


# The process and the sampler of the official evaluation scripts.
PIPELINES = {
  "sd": ("stable_diffusion", "dpm_solver++"),
  "vp_dpm": ("vp", "dpm_solver"),
  "vp_em": ("vp", "euler_maruyama"),
}


@cases("uvit/e2e_*.npz")
def test_sampling_end_to_end(case):
  model, params = uvit(case)
  process, sampler = PIPELINES[case.meta["schedule"]]
  process = official_process(process, case.meta["schedule_args"])
  sampler = create_sampler(sampler, process, num_steps=case.meta["steps"])
  start = case.arrays["in/x_init"]
  noise = replay(start, case.arrays.get("in/noise", ()))
  y, null = conditioning(case), null_conditioning(case, model)
  guidance = Guidance(case.meta["cfg_scale"], convention="u-vit")
  shape = chw_to_hwc(start.shape)

  @fast_compile_jit
  def run():
    def net(x, t, y):
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, y, null)
    return sampler(guided, noise, shape, trajectory=True)

  x, states = run()
  limit = tolerance(case, "uvit/sampling")
  assert relative(x, nhwc(case.arrays["out/z"])) < limit
  if "mid/call_x" in case.names:
    begins = np.flatnonzero(sampler.scheme.starts_step)
    calls = nhwc(case.arrays["mid/call_x"])[begins]
    assert relative(states[:-1], calls) < limit


@cases("uvit/cka_blocks*.npz")
def test_similarity_of_blocks(case, monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  import uvit_cka

  model, params = uvit(case)
  x, t = nhwc(case.arrays["in/x"]), jnp.asarray(case.arrays["in/timesteps"])
  grams = uvit_cka.block_grams(model, params, x, t)
  pair = np.stack([uvit_cka.gram(case.arrays[f"in/{k}"]) for k in "AB"])
  limit = tolerance(case, "uvit/cka")
  for unbiased, name in ((False, "cka"), (True, "cka_unbiased")):
    out = uvit_cka.cka(grams, unbiased)
    assert relative(out, case.arrays[f"out/{name}"]) < limit
    out = uvit_cka.cka(pair, unbiased)[0, 1]
    assert relative(out, case.arrays[f"out/{name}_AB"]) < limit


@cases("uvit/vae_moments*.npz")
def test_latents_from_moments(case):
  model = create_autoencoder(scaling_factor=case.meta["scale_factor"])
  moments, noise = (nhwc(case.arrays[f"in/{k}"]) for k in ("moments", "noise"))
  limit = tolerance(case, "uvit/latent")
  latents = model.scale(posterior.sample(moments, noise))
  assert relative(latents, nhwc(case.arrays["out/z"])) < limit
  decoded = model.unscale(nhwc(case.arrays["out/z"]))
  assert relative(decoded, nhwc(case.arrays["out/decoder_input"])) < limit

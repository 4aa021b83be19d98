"""U-ViT against the official code: forward, gradients, training, sampling."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden_numbers import fast_compile_jit, nhwc, relative, replay
from ml_collections import ConfigDict

from get_jax.diffusion import Guidance, create_process, create_sampler
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


def module(meta):
  fields = {FIELDS.get(k, k): v for k, v in meta["constructor"].items()}
  fields["skip"] = SKIPS[meta.get("skip_mode", "concat")]
  fields["num_classes"] = max(fields.get("num_classes", 0), 0)
  return create_model("U-ViT", **fields)


def case(golden, name):
  data = golden(f"uvit/{name}")
  model = module(data.meta)
  return data, model, load_official(model, data.under("param"))


def condition(data):
  arrays = data.arrays
  y = arrays.get("in/y", arrays.get("in/context"))
  return None if y is None else jnp.asarray(y)


@pytest.mark.parametrize(
  "name",
  [
    "classcond_conv",
    "classcond_noconv",
    "uncond_conv",
    "t2i_conv",
    "skip_none",
    "skip_addition",
    "options",
    "small_activations",
  ],
)
def test_forward_and_gradients(golden, name):
  data, model, params = case(golden, f"model_{name}")
  tolerance = data.meta["tol_rel_l2"]
  x, t = nhwc(data.arrays["in/x"]), data.arrays["in/timesteps"]
  y, weights = condition(data), nhwc(data.arrays["in/cotangent"])

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
  assert relative(out, nhwc(data.arrays["out/out"])) < tolerance["out"]
  middle = kept["mid_block"]["__call__"][0]
  assert relative(middle, data.arrays["mid/mid_block"]) < tolerance["mid"]
  decoded = kept["decoder"]["__call__"][0]
  theirs = data.arrays["mid/decoder_pred"][:, -decoded.shape[1] :]
  assert relative(decoded, theirs) < tolerance["mid"]
  ours = export_official(model, grads)
  for key, theirs in data.under("grad").items():
    assert relative(ours[key], theirs) < tolerance["grad"], key
  assert relative(grad_x, nhwc(data.arrays["grad_in/x"])) < tolerance["grad"]


def test_pieces(golden):
  data = golden("uvit/embedding_and_patches").arrays
  t = jnp.asarray(data["in/t"])
  for dim in (8, 32, 33, 512):
    mine = timestep_sinusoid(t, dim)
    assert relative(mine, data[f"out/embedding_{dim}"]) < 2e-5
  image = unpatchify(data["in/tokens"], (3, 3), 2)
  np.testing.assert_array_equal(image, nhwc(data["out/unpatchified"]))
  np.testing.assert_array_equal(
    patchify(image, 2), data["out/patchified_again"]
  )


@pytest.mark.parametrize(
  ("name", "process"), [("vp", "vp"), ("discrete", "stable_diffusion")]
)
def test_training_steps(golden, name, process):
  data, model, start = case(golden, f"train_steps_{name}")
  meta, arrays = data.meta, data.arrays
  process = create_process(process)
  told = meta["optimizer"]
  optimizer = create_optimizer(
    ConfigDict(
      dict(
        learning_rate=told["lr"],
        schedule="constant",
        warmup_steps=meta["warmup_steps"],
        b1=told["betas"][0],
        b2=told["betas"][1],
        eps=told["eps"],
        weight_decay=told["weight_decay"],
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

  if name == "vp":
    times = arrays["in/t"].astype(np.float32)
  else:
    times = arrays["in/n"] - 1
  params = ema = start
  state = optimizer.init(start)
  for i in range(meta["n_steps"]):
    params, ema, state, losses = step(
      params,
      ema,
      state,
      nhwc(arrays["in/x0"][i]),
      nhwc(arrays["in/eps"][i]),
      arrays["in/y"][i],
      times[i],
    )
    assert relative(losses, arrays["out/loss"][i]) < 1e-5
  for kind, tree in (("delta", params), ("ema_delta", ema)):
    moved = jax.tree.map(lambda a, b: np.float32(a) - b, tree, start)
    ours = export_official(model, moved)
    theirs = data.under(f"out/{kind}")
    assert ours.keys() == theirs.keys()
    flat = [
      np.concatenate([tree[key].ravel() for key in theirs])
      for tree in (ours, theirs)
    ]
    assert relative(*flat) < meta["tol_rel_l2"][kind]


@pytest.mark.parametrize("name", ["class", "t2i"])
def test_guidance(golden, name):
  data, model, params = case(golden, f"cfg_{name}")
  x, t = nhwc(data.arrays["in/x"]), jnp.asarray(data.arrays["in/timesteps"])
  null = data.arrays.get("in/empty_context", model.num_classes - 1)

  @fast_compile_jit
  def net(x, t, y):
    return model.apply({"params": params}, x, t, y)

  for scale in data.meta["scales"]:
    guidance = Guidance(scale, convention="u-vit")
    out = guidance(net, condition(data), null)(x, t)
    theirs = nhwc(data.arrays[f"out/cfg_{scale}"])
    assert relative(out, theirs) < data.meta["tol_rel_l2"]


@pytest.mark.parametrize(
  ("name", "process", "sampler"),
  [
    ("sd_cfg_class", "stable_diffusion", "dpm_solver++"),
    ("vp_dpm_class", "vp", "dpm_solver"),
    ("vp_em_uncond", "vp", "euler_maruyama"),
  ],
)
def test_sampling_end_to_end(golden, name, process, sampler):
  data, model, params = case(golden, f"e2e_{name}")
  process = create_process(process)
  sampler = create_sampler(sampler, process, num_steps=data.meta["steps"])
  noise = replay(data.arrays["in/x_init"], data.arrays.get("in/noise", ()))
  y = condition(data)
  guidance = Guidance(data.meta["cfg_scale"], convention="u-vit")

  @fast_compile_jit
  def run():
    def net(x, t, y):
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, y, model.num_classes - 1)
    shape = nhwc(data.arrays["in/x_init"]).shape[1:]
    return sampler(guided, noise, shape, trajectory=True)

  x, states = run()
  assert relative(x, nhwc(data.arrays["out/z"])) < data.meta["tol_rel_l2"]
  begins = np.flatnonzero(sampler.scheme.starts_step)
  calls = nhwc(data.arrays["mid/call_x"])[begins]
  assert relative(states[:-1], calls) < data.meta["tol_rel_l2"]


def test_similarity_of_blocks(golden, monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  import uvit_cka

  data, model, params = case(golden, "cka_blocks")
  x, t = nhwc(data.arrays["in/x"]), jnp.asarray(data.arrays["in/timesteps"])
  grams = uvit_cka.block_grams(model, params, x, t)
  pair = np.stack([uvit_cka.gram(data.arrays[f"in/{k}"]) for k in "AB"])
  for unbiased, name in ((False, "cka"), (True, "cka_unbiased")):
    out = uvit_cka.cka(grams, unbiased)
    tolerance = data.meta["tol_rel_l2"]
    assert relative(out, data.arrays[f"out/{name}"]) < tolerance
    out = uvit_cka.cka(pair, unbiased)[0, 1]
    assert relative(out, data.arrays[f"out/{name}_AB"]) < tolerance

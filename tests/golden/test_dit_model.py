"""DiT against the official code: forward, guidance, gradients, start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.interop.official import export_official, load_official
from get_jax.models import create_model
from get_jax.nn.position_embedding import sincos_2d
from get_jax.nn.timestep_embedding import timestep_sinusoid


def module(cfg):
  cfg = dict(cfg)
  cfg["null_class"] = cfg.pop("class_dropout_prob") > 0
  return create_model("DiT", **cfg)


def nhwc(x):
  return jnp.asarray(x).transpose(0, 2, 3, 1)


def assert_close(ours, theirs, tolerance):
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert ours.shape == theirs.shape
  gap = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
  assert gap <= tolerance, gap


CASES = {
  "a": 1e-5,
  "b_nosigma": 1e-5,
  "c_lneps": 5e-3,
}


@pytest.mark.parametrize("case", CASES)
def test_forward_and_gradients(golden, case):
  data = golden(f"dit/dit_forward_{case}")
  tolerance = CASES[case]
  model = module(data.meta["cfg"])
  params = load_official(model, data.under("param"))
  x, t, y = (jnp.asarray(data.arrays[f"in/{k}"]) for k in "xty")

  @jax.jit
  def run(params, x):
    def loss(params, x):
      out, kept = model.apply(
        {"params": params},
        x,
        t,
        y,
        capture_intermediates=True,
        mutable=["intermediates"],
      )
      return jnp.mean(out**2), (out, kept["intermediates"])

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  (grads, grad_x), (out, mids) = run(params, nhwc(x))
  assert_close(out, nhwc(data.arrays["out/out"]), tolerance)
  ours = {
    "patch_tokens": mids["patch_embed"],
    "t_emb": mids["time_embed"],
    "y_emb": mids["label_embed"],
    "block0_attn": mids["blocks_0"]["attn"],
    "final_tokens": mids["final_layer"],
    "tokens0": mids["positions"],
  }
  ours |= {k.replace("s_", ""): v for k, v in mids.items() if "blocks_" in k}
  for name, value in data.under("mid").items():
    if name == "t_freq":
      mine = timestep_sinusoid(t, 256)
    else:
      mine = ours[name]["__call__"][0]
    assert_close(mine, value, tolerance)
  mine = export_official(model, grads)
  for name, value in data.under("grad").items():
    assert_close(mine[name], value, max(2e-5, tolerance))
  assert_close(grad_x, nhwc(data.arrays["grad_in/x"]), max(2e-5, tolerance))
  assert not np.any(grads["positions"]["pos_table"])


def test_conditional_and_null_halves(golden):
  data = golden("dit/dit_cfg")
  model = module(data.meta["cfg"])
  params = load_official(model, data.under("param"))
  x, t, y = (jnp.asarray(data.arrays[f"in/{k}"]) for k in "xty")
  half = nhwc(x)[: len(x) // 2]
  out = jax.jit(model.apply)(
    {"params": params}, jnp.concatenate([half, half]), t, y
  )
  assert_close(out, nhwc(data.arrays["out/cond_uncond"]), 2e-5)
  # The official guidance reaches three channels, whatever their number.
  cond, null = jnp.split(out, 2)
  scale = data.arrays["in/cfg_scale"]
  guided = null + scale * (cond - null)
  theirs = nhwc(data.arrays["out/out"])
  assert_close(guided[..., :3], theirs[: len(half), ..., :3], 2e-5)
  assert_close(cond[..., 3:], theirs[: len(half), ..., 3:], 2e-5)


def test_forced_drop_is_the_null_label(golden):
  data = golden("dit/dit_forward_a")
  table = data.arrays["param/y_embedder.embedding_table.weight"]
  drop, y = data.arrays["in/force_drop_ids"], data.arrays["in/y"]
  y = np.where(drop == 1, data.meta["cfg"]["num_classes"], y)
  np.testing.assert_allclose(table[y], data.arrays["out/y_emb_forced"])


def test_embeddings(golden):
  data = golden("dit/embeddings").arrays
  t = jnp.asarray(data["in/t"])
  for dim in (256, 64, 7):
    mine, theirs = timestep_sinusoid(t, dim), data[f"out/t_embed_dim{dim}"]
    np.testing.assert_allclose(mine, theirs, atol=2e-4)
    np.testing.assert_allclose(mine[t <= 10], theirs[t <= 10], atol=1e-6)
  for dim, side in ((32, 4), (64, 8), (48, 3)):
    np.testing.assert_allclose(
      sincos_2d((side, side), dim),
      data[f"out/pos_embed_D{dim}_grid{side}"],
      atol=1e-7,
    )
  np.testing.assert_allclose(
    sincos_2d((16, 16), 1152)[data["in/rows_D1152_grid16"]],
    data["out/pos_embed_rows_D1152_grid16"],
    atol=1e-7,
  )


def test_initialisation(golden):
  data = golden("dit/init_stats")
  model = module(data.meta["cfg"])
  side, channels = model.input_size, model.in_channels
  params = jax.jit(model.init)(
    jax.random.key(0),
    jnp.zeros((1, side, side, channels)),
    jnp.zeros(1),
    jnp.zeros(1, jnp.int32),
  )["params"]
  stats = data.meta["stats"]
  assert len(stats) >= len(jax.tree.leaves(params)) - 1
  tensors = export_official(model, params)
  for name, stat in stats.items():
    mine = tensors[name]
    assert mine.shape == tuple(stat["shape"]), name
    if name == "pos_embed":
      continue
    if stat["all_zero"]:
      assert not mine.any(), name
      continue
    count = mine.size
    assert mine.std() == pytest.approx(stat["std"], rel=6 / count**0.5), name
    assert abs(mine.mean()) < 6 * stat["std"] / count**0.5, name
    if "t_embedder" not in name and "y_embedder" not in name:  # uniform
      assert np.abs(mine).max() <= stat["max"] * 1.01, name
      assert np.abs(mine).max() >= stat["max"] * 0.98, name

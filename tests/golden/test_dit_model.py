"""DiT against the official code: forward, gradients, names, initialization."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases
from dit_cases import dit
from golden_numbers import nhwc, relative
from tolerances import tolerance

from get_jax.interop.official import export_official
from get_jax.nn.position_embedding import sincos_2d
from get_jax.nn.timestep_embedding import timestep_sinusoid

FORWARD = "dit/dit_forward_*.npz"


@cases(FORWARD)
def test_forward_and_gradients(case):
  model, params = dit(case)
  limit = tolerance(case, "dit/forward", "out")
  grad_limit = max(limit, tolerance(case, "dit/forward", "grad"))
  x, t, y = (jnp.asarray(case.arrays[f"in/{k}"]) for k in "xty")

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

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  (loss, (out, kept)), (grads, grad_x) = run(params, nhwc(x))
  assert relative(out, nhwc(case.arrays["out/out"])) <= limit
  assert relative(loss, case.arrays["out/loss_mean_sq"]) <= limit
  modules = {
    "patch_tokens": kept["patch_embed"],
    "t_emb": kept["time_embed"],
    "y_emb": kept["label_embed"],
    "final_tokens": kept["final_layer"],
    "tokens0": kept["positions"],
  }
  for i in range(model.depth):
    modules[f"block{i}"] = kept[f"blocks_{i}"]
    modules[f"block{i}_attn"] = kept[f"blocks_{i}"]["attn"]
  for name, expected in case.under("mid").items():
    if name == "t_freq":
      got = timestep_sinusoid(t, expected.shape[1])
    else:
      got = modules[name]["__call__"][0]
    assert relative(got, expected) <= limit, name
  official = export_official(model, grads)
  for name, expected in case.under("grad").items():
    assert relative(official[name], expected) <= grad_limit, name
  assert relative(grad_x, nhwc(case.arrays["grad_in/x"])) <= grad_limit
  assert not np.any(grads["positions"]["pos_table"])


@cases(FORWARD)
def test_names(case):
  model, params = dit(case)
  exported, expected = export_official(model, params), case.under("param")
  assert exported.keys() == expected.keys()
  for name, tensor in expected.items():
    np.testing.assert_array_equal(exported[name], tensor)


@cases(FORWARD, lambda case: "in/force_drop_ids" in case.names)
def test_forced_drop_is_the_null_label(case):
  table = case.arrays["param/y_embedder.embedding_table.weight"]
  drop, y = case.arrays["in/force_drop_ids"], case.arrays["in/y"]
  y = np.where(drop == 1, case.meta["cfg"]["num_classes"], y)
  np.testing.assert_allclose(table[y], case.arrays["out/y_emb_forced"])


@cases("dit/embeddings*.npz")
def test_embeddings(case):
  given, out = case.under("in"), case.under("out")
  t = given["t"]
  limits = {
    name: tolerance(case, "dit/embeddings", name)
    for name in ("time", "small_time", "position")
  }
  for name, expected in out.items():
    if found := re.fullmatch(r"t_embed_dim(\d+)", name):
      got = np.asarray(timestep_sinusoid(jnp.asarray(t), int(found[1])))
      np.testing.assert_allclose(got, expected, atol=limits["time"])
      np.testing.assert_allclose(
        got[t <= 10], expected[t <= 10], atol=limits["small_time"]
      )
      continue
    found = re.fullmatch(r"pos_embed_(rows_)?D(\d+)_grid(\d+)", name)
    dim, side = int(found[2]), int(found[3])
    got = sincos_2d((side, side), dim)
    if found[1]:
      got = got[given[f"rows_D{dim}_grid{side}"]]
    np.testing.assert_allclose(got, expected, atol=limits["position"])


@cases("dit/init_stats*.npz")
def test_initialization(case):
  model, _ = dit(case)
  inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
  params = jax.jit(model.init)(jax.random.key(0), *inputs)["params"]
  stats = case.meta["stats"]
  assert len(stats) >= len(jax.tree.leaves(params)) - 1
  tensors = export_official(model, params)
  for name, stat in stats.items():
    tensor = tensors[name]
    assert tensor.shape == tuple(stat["shape"]), name
    if name == "pos_embed":
      continue
    if stat["all_zero"]:
      assert not tensor.any(), name
      continue
    error = 6 / tensor.size**0.5
    assert tensor.std() == pytest.approx(stat["std"], rel=error), name
    assert abs(tensor.mean()) < error * stat["std"], name
    if "t_embedder" not in name and "y_embedder" not in name:  # uniform
      # The maximum of few uniform numbers varies.
      slack = 10 / tensor.size
      largest = np.abs(tensor).max()
      assert largest <= stat["max"] * (1 + max(0.01, slack)), name
      assert largest >= stat["max"] * (1 - max(0.02, slack)), name
  assert case.arrays["out/out_at_init_absmax"] == 0
  out = jax.jit(model.apply)({"params": params}, *map(jnp.ones_like, inputs))
  assert not np.any(out)

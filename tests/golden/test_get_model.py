"""GET and its ViT baseline against the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from get_jax.interop.official import export_official, load_official
from get_jax.models import create_model

FIELDS = {
  "depth": "injection_depth",
  "deq_depth": "equilibrium_depth",
  "deq_mlp_ratio": "equilibrium_mlp_ratio",
}


def case(golden, case, name="GET", **fields):
  """The case, its model, parameters and labels."""
  data = golden(f"get/{case}")
  ctor = dict(data.meta["ctor"])
  if not ctor.pop("cond"):
    ctor["num_classes"] = 0
  if name == "ViT":
    ctor = {k: v for k, v in ctor.items() if not k.startswith("deq_")}
  else:
    ctor = {FIELDS.get(k, k): v for k, v in ctor.items()}
  model = create_model(name, **ctor, **fields)
  params = load_official(model, data.under("param"))
  return data, model, params, data.arrays.get("in/y")


def nhwc(x):
  return jnp.moveaxis(jnp.asarray(x), -3, -1)


def gap(ours, theirs):
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert ours.shape == theirs.shape
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize("name", ["get_uncond", "get_cond", "get_wn_uncond"])
def test_forward(golden, name):
  data, model, params, y = case(golden, name)
  noise, z0 = nhwc(data.arrays["in/x"]), data.arrays["in/z0"]

  @jax.jit
  def run(params):
    variables = {"params": params}
    outputs = model.apply(variables, noise, y, z0, 12, method="outputs")
    injections = model.apply(variables, noise, y, method="inject")
    image, solution = model.apply(
      variables, noise, y, z0, 12, trace=True, method="solve"
    )
    six = model.apply(variables, noise, y, z0)
    return outputs, injections, image, solution, six

  outputs, injections, image, solution, six = run(params)
  out = {k: nhwc(v) for k, v in data.under("out").items() if v.ndim > 3}
  assert gap(outputs, out["img_iter"]) < 1e-5
  assert gap(image, out["eval_12"]) < 1e-5
  assert gap(six, out["eval_6"]) < 1e-5
  trace = data.arrays["out/eval_12_abs_trace"][:, 1:]
  assert gap(solution.trace.T, trace) < 1e-5
  if "mid/u" in data.arrays:
    width = 3 * model.hidden_size
    label = 0.0
    if y is not None:
      label = params["label_embed"]["table"]["embedding"][y][:, None]
    for i in range(model.equilibrium_depth):
      theirs = data.arrays["mid/u"][..., i * width : (i + 1) * width]
      assert gap(injections[i] - label, theirs) < 1e-5


@pytest.mark.parametrize(
  "name", ["get_grad_uncond", "get_grad_cond", "get_wn_grad"]
)
def test_gradients(golden, name):
  data, model, params, y = case(golden, name, weight_norm="wn" in name)
  noise, z0 = nhwc(data.arrays["in/x"]), data.arrays["in/z0"]
  target = nhwc(data.arrays["in/target"])

  @jax.jit
  def run(params):
    def losses(params):
      outputs = model.apply(
        {"params": params}, noise, y, z0, 6, method="outputs"
      )
      return jnp.abs(outputs - target).mean((1, 2, 3, 4))

    values, pullback = jax.vjp(losses, params)
    weights = jnp.stack([0.8 ** jnp.arange(5.0, -1.0, -1.0), jnp.eye(6)[5]])
    return values, jax.vmap(pullback)(weights)[0]

  values, grads = run(params)
  assert gap(values, data.arrays["out/loss_list"]) < 1e-5
  for i, kind in enumerate(("fpc", "last")):
    mine = export_official(model, jax.tree.map(lambda g, i=i: g[i], grads))
    for key, theirs in data.under(f"grad/{kind}").items():
      assert gap(mine[key], theirs) < 5e-5, key


def test_training_steps(golden):
  data, model, params, _ = case(golden, "get_train_steps")
  meta, arrays = data.meta, data.arrays
  optimizer = optax.adamw(
    meta["lr"], *meta["betas"], meta["eps"], weight_decay=0
  )

  @jax.jit
  def step(params, ema, state, x, y, z0, target):
    def loss(params):
      outputs = model.apply(
        {"params": params}, x, y, z0[0], 6, method="outputs"
      )
      terms = jnp.abs(outputs - target).mean((1, 2, 3, 4))
      return jnp.sum(0.8 ** jnp.arange(5.0, -1.0, -1.0) * terms), terms

    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, ema, 1 - meta["ema_decay"])
    image = model.apply({"params": ema}, x, y, z0[1], 6)
    return params, ema, state, value, terms, jnp.abs(image - target).mean()

  ema, state = params, optimizer.init(params)
  for i in range(meta["steps"]):
    params, ema, state, value, terms, quality = step(
      params,
      ema,
      state,
      nhwc(arrays["in/x"][i]),
      arrays["in/y"][i],
      arrays["in/z0"][2 * i : 2 * i + 2],
      nhwc(arrays["in/target"][i]),
    )
    assert value == pytest.approx(arrays["out/loss"][i], rel=1e-4)
    assert gap(terms, arrays["out/loss_list"][i]) < 1e-4
    assert quality == pytest.approx(arrays["out/ema_eval_l1"][i], rel=1e-4)
  for tree, kind in ((params, "model"), (ema, "ema")):
    mine = export_official(model, tree)
    for key, theirs in data.under(f"out/{kind}").items():
      assert gap(mine[key], theirs) < 1e-3, key


@pytest.mark.parametrize("name", ["vit_uncond", "vit_cond"])
def test_vit(golden, name):
  data, model, params, y = case(golden, name, "ViT")
  image, kept = jax.jit(
    lambda p: model.apply(
      {"params": p},
      nhwc(data.arrays["in/x"]),
      y,
      capture_intermediates=True,
      mutable=["intermediates"],
    )
  )(params)
  mids = kept["intermediates"]
  assert gap(image, nhwc(data.arrays["out/img"])) < 1e-5
  start = mids["positions"]["__call__"][0]
  assert gap(start, data.arrays["mid/patch_embed_plus_pos"]) < 1e-5
  for i, theirs in enumerate(data.arrays["mid/blocks"]):
    assert gap(mids[f"blocks_{i}"]["__call__"][0], theirs) < 1e-5

"""GET and its ViT baseline against the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from get_jax.models import create_model

NAMES = {
  "x_embedder.proj": "patch_embed",
  "y_embedder.embedding_table": "label_embed/table",
  "qkv_inj": "qkv_injection",
  "final_layer.norm_final": "final_layer/norm",
}
FIELDS = {
  "depth": "injection_depth",
  "deq_depth": "equilibrium_depth",
  "deq_mlp_ratio": "equilibrium_mlp_ratio",
}


def convert(key, value):
  """One official tensor as our path and array."""
  value = np.asarray(value, np.float32)
  if key == "pos_embed":
    return "positions/pos_table", value[0]
  stem, leaf = key.rsplit(".", 1)
  if leaf == "weight":
    if stem == "x_embedder.proj":
      value = value.transpose(2, 3, 1, 0).reshape(-1, value.shape[0])
      leaf = "kernel"
    elif "embedding_table" in stem:
      leaf = "embedding"
    elif "norm" in stem:
      leaf = "scale"
    else:
      value, leaf = value.T, "kernel"
  path = NAMES.get(stem, stem).replace(".", "/")
  path = path.replace("deq_", "equilibrium_").replace("blocks/", "blocks_")
  return f"{path}/{leaf}", value


def to_jax(official):
  tree = {}
  for key, value in official.items():
    path, value = convert(key, value)
    node = tree
    *parents, leaf = path.split("/")
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = value
  return tree


def at(tree, path):
  for key in path.split("/"):
    tree = tree[key]
  return tree


def module(name, ctor):
  ctor = dict(ctor)
  if not ctor.pop("cond"):
    ctor["num_classes"] = 0
  if name == "ViT":
    ctor = {k: v for k, v in ctor.items() if not k.startswith("deq_")}
  else:
    ctor = {FIELDS.get(k, k): v for k, v in ctor.items()}
  return create_model(name, **ctor)


def nhwc(x):
  return jnp.moveaxis(jnp.asarray(x), -3, -1)


def gap(ours, theirs):
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert ours.shape == theirs.shape
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def case(golden, name):
  data = golden(f"get/{name}")
  y = data.arrays.get("in/y")
  return data, to_jax(data.under("param")), y


@pytest.mark.parametrize("name", ["get_uncond", "get_cond"])
def test_forward(golden, name):
  data, params, y = case(golden, name)
  model = module("GET", data.meta["ctor"])
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
    label = params["label_embed"]["table"]["embedding"][y][:, None]
    for i in range(model.equilibrium_depth):
      theirs = data.arrays["mid/u"][..., i * width : (i + 1) * width]
      assert gap(injections[i] - label, theirs) < 1e-5


@pytest.mark.parametrize("name", ["get_grad_uncond", "get_grad_cond"])
def test_gradients(golden, name):
  data, params, y = case(golden, name)
  model = module("GET", data.meta["ctor"])
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
    for key, theirs in data.under(f"grad/{kind}").items():
      path, theirs = convert(key, theirs)
      assert gap(at(grads, path)[i], theirs) < 5e-5, key


def test_training_steps(golden):
  data, params, _ = case(golden, "get_train_steps")
  meta, arrays = data.meta, data.arrays
  model = module("GET", meta["ctor"])
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
    for key, theirs in data.under(f"out/{kind}").items():
      path, theirs = convert(key, theirs)
      assert gap(at(tree, path), theirs) < 1e-3, key


@pytest.mark.parametrize("name", ["vit_uncond", "vit_cond"])
def test_vit(golden, name):
  data, params, y = case(golden, name)
  model = module("ViT", data.meta["ctor"])
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

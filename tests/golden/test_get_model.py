"""GET and its ViT baseline against the official code."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import cases
from get_cases import get_model
from golden_numbers import nhwc, relative
from tolerances import tolerance

from get_jax.interop.official import export_official, load_official


def weight_norm(case):
  """The model's field for the normalization of the case."""
  return {"none": False, "weight_norm": True}[case.meta["norm_type"]]


def correction_weights(count):
  """The official weights of the losses of `count` iterates."""
  return 0.8 ** jnp.arange(count - 1.0, -1.0, -1.0)


@cases("get/get_*.npz", lambda case: case.meta.get("kind") == "get_forward")
def test_forward(case):
  # Stored magnitudes are multiplied in.
  model = get_model(case)
  params = load_official(model, case.under("param"))
  y = case.arrays.get("in/y")
  limit = tolerance(case, "get/forward")
  noise, z0 = nhwc(case.arrays["in/x"]), case.arrays["in/z0"]
  expected, mid = case.under("out"), case.under("mid")
  iterations = case.meta["iterations"]
  count = len(expected["img_iter"])

  @jax.jit
  def run(params):
    variables = {"params": params}
    outputs = model.apply(variables, noise, y, z0, count, method="outputs")
    injections = model.apply(variables, noise, y, method="inject")
    solved = {
      steps: model.apply(
        variables, noise, y, z0, steps, trace=True, method="solve"
      )
      for steps in iterations
    }
    default = model.apply(variables, noise, y, z0)
    return outputs, injections, solved, default

  outputs, injections, solved, default = run(params)
  assert relative(outputs, nhwc(expected["img_iter"])) < limit
  for steps, (image, solution) in solved.items():
    assert relative(image, nhwc(expected[f"eval_{steps}"])) < limit, steps
    if f"eval_{steps}_abs_trace" in expected:
      trace = expected[f"eval_{steps}_abs_trace"][:, 1:]
      assert relative(solution.trace.T, trace) < limit, steps
  if 6 in solved:  # the number of the official evaluation
    assert relative(default, nhwc(expected["eval_6"])) < limit
  if "u" in mid:
    label = 0.0
    if y is not None:
      label = params["label_embed"]["table"]["embedding"][y][:, None]
    shifts = np.split(mid["u"], model.equilibrium_depth, axis=-1)
    for got, theirs in zip(injections, shifts, strict=True):
      assert relative(got - label, theirs) < limit


@cases("get/get_*.npz", lambda case: case.meta.get("kind") == "get_train_grad")
def test_gradients(case):
  model = get_model(case, weight_norm=weight_norm(case))
  params = load_official(model, case.under("param"))
  y, count = case.arrays.get("in/y"), case.meta["unroll"]
  noise, z0 = nhwc(case.arrays["in/x"]), case.arrays["in/z0"]
  target = nhwc(case.arrays["in/target"])
  weights = {
    "fpc": correction_weights(count),
    "last": jnp.eye(count)[-1],
  }

  @jax.jit
  def run(params):
    def losses(params):
      outputs = model.apply(
        {"params": params}, noise, y, z0, count, method="outputs"
      )
      return jnp.abs(outputs - target).mean((1, 2, 3, 4)), outputs

    values, pullback, outputs = jax.vjp(losses, params, has_aux=True)
    stacked = jnp.stack([*weights.values()])
    return values, outputs, jax.vmap(pullback)(stacked)[0]

  values, outputs, grads = run(params)
  out = case.under("out")
  limit = tolerance(case, "get/gradients", "loss")
  assert relative(values, out["loss_list"]) < limit
  assert relative(outputs, nhwc(out["preds"])) < limit
  for name, weight in weights.items():
    assert relative(values @ weight, out[f"loss_{name}"]) < limit, name
  limit = tolerance(case, "get/gradients", "grad")
  for i, kind in enumerate(weights):
    official = export_official(model, jax.tree.map(lambda g, i=i: g[i], grads))
    expected = case.under(f"grad/{kind}")
    assert expected
    for key, theirs in expected.items():
      assert relative(official[key], theirs) < limit, key


@cases("get/get_train_steps*.npz")
def test_training_steps(case):
  model = get_model(case)
  params = load_official(model, case.under("param"))
  meta, arrays = case.meta, case.arrays
  count = arrays["out/loss_list"].shape[1]
  # "... EMA eval-mode forward (6 iterations, best-residual choice) ..."
  evaluation = int(re.search(r"\((\d+) iterations", meta["note"])[1])
  optimizer = optax.adamw(
    meta["lr"],
    *meta["betas"],
    meta["eps"],
    weight_decay=meta["weight_decay"],
  )

  @jax.jit
  def step(params, ema, state, x, y, z0, target):
    def loss(params):
      outputs = model.apply(
        {"params": params}, x, y, z0[0], count, method="outputs"
      )
      terms = jnp.abs(outputs - target).mean((1, 2, 3, 4))
      return jnp.sum(correction_weights(count) * terms), terms

    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, ema, 1 - meta["ema_decay"])
    image = model.apply({"params": ema}, x, y, z0[1], evaluation)
    return params, ema, state, value, terms, jnp.abs(image - target).mean()

  ema, state = params, jax.jit(optimizer.init)(params)
  y = arrays.get("in/y")
  limit = tolerance(case, "get/train", "loss")
  for i in range(meta["steps"]):
    params, ema, state, value, terms, quality = step(
      params,
      ema,
      state,
      nhwc(arrays["in/x"][i]),
      None if y is None else y[i],
      arrays["in/z0"][2 * i : 2 * i + 2],
      nhwc(arrays["in/target"][i]),
    )
    assert value == pytest.approx(arrays["out/loss"][i], rel=limit)
    assert relative(terms, arrays["out/loss_list"][i]) < limit
    assert quality == pytest.approx(arrays["out/ema_eval_l1"][i], rel=limit)
  limit = tolerance(case, "get/train", "param")
  for tree, kind in ((params, "model"), (ema, "ema")):
    official = export_official(model, tree)
    for key, theirs in case.under(f"out/{kind}").items():
      assert relative(official[key], theirs) < limit, key


@cases("get/vit_*.npz")
def test_vit(case):
  model = get_model(case, "ViT")
  params = load_official(model, case.under("param"))
  limit = tolerance(case, "get/forward")
  image, kept = jax.jit(
    lambda p: model.apply(
      {"params": p},
      nhwc(case.arrays["in/x"]),
      case.arrays.get("in/y"),
      capture_intermediates=True,
      mutable=["intermediates"],
    )
  )(params)
  mids = kept["intermediates"]
  assert relative(image, nhwc(case.arrays["out/img"])) < limit
  start = mids["positions"]["__call__"][0]
  expected = case.under("mid")
  assert relative(start, expected["patch_embed_plus_pos"]) < limit
  for i, theirs in enumerate(expected["blocks"]):
    assert relative(mids[f"blocks_{i}"]["__call__"][0], theirs) < limit

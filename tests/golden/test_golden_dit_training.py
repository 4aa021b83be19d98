"""DiT's recipe against the official code: loss, AdamW and the average."""

import jax
import numpy as np
import optax
from cases import cases
from dit_cases import dit
from golden_numbers import fast_compile_jit, nhwc, relative
from tolerances import tolerance

from configs import dit_s2
from get_jax.builders.process import build_process
from get_jax.interop.official import export_official
from get_jax.training.optimizer import create_optimizer


@cases("dit/train_steps*.npz")
def test_training_steps(case):
  model, start = dit(case)
  config = dit_s2.get_config()
  config.optimizer.learning_rate = case.meta["lr"]
  if not model.learn_sigma:
    config.process.variance = "fixed_large"
  optimizer = create_optimizer(config.optimizer, config.num_steps)
  process = build_process(config)

  @fast_compile_jit
  def step(params, ema, state, x0, noise, t, y):
    def loss(params):
      losses, metrics = process.loss_at(
        lambda x, t: model.apply({"params": params}, x, t, y), x0, t, noise
      )
      return losses.mean(), metrics

    (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    decay = case.meta["ema_decay"]
    ema = optax.incremental_update(params, ema, 1 - decay)
    return params, ema, state, value, metrics

  params = ema = start
  state = fast_compile_jit(optimizer.init)(start)
  given, expected = case.under("in"), case.under("out")
  limit = tolerance(case, "dit/train", "loss")
  for i in range(len(expected["loss"])):
    params, ema, state, value, metrics = step(
      params,
      ema,
      state,
      nhwc(given["x_start"][i]),
      nhwc(given["noise"][i]),
      given["t"][i],
      given["y"][i],
    )
    np.testing.assert_allclose(value, expected["loss"][i], rtol=limit)
    for name, values in metrics.items():
      assert relative(values, expected[name][i]) < limit, name

  limit = tolerance(case, "dit/train", "change")
  for kind, tree in (("param_after", params), ("ema_after", ema)):
    moved = jax.tree.map(lambda a, b: np.float32(a) - b, tree, start)
    ours = export_official(model, moved)
    for name, after in case.under(f"out/{kind}").items():
      change = after - np.float32(case.arrays[f"param/{name}"])
      assert relative(ours[name], change) < limit, name

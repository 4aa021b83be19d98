"""Consistency models and easy consistency tuning against the official codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases
from golden_numbers import fast_compile_jit, relative
from tolerances import tolerance

from get_jax.diffusion.consistency import Consistency, Pair
from get_jax.diffusion.edm import EDM
from get_jax.diffusion.objectives.consistency import (
  ConsistencyDistillation,
  ConsistencyTraining,
)
from get_jax.diffusion.objectives.continuous_consistency import (
  ContinuousConsistencyDistillation,
  ContinuousConsistencyTraining,
)
from get_jax.diffusion.objectives.easy_consistency import EasyConsistency


def toy_network(params, x, t, y, key, train=True):
  """The network of the README: tanh(x W + t u) V."""
  hidden = jnp.tanh(
    x.reshape(len(x), -1) @ params["W"] + t[:, None] * params["u"]
  )
  return (hidden @ params["V"]).reshape(x.shape)


def parameters(case, name):
  """Parameters of a network of a case, float32."""
  return {k: jnp.float32(v) for k, v in case.under(name).items()}


def process_of(case):
  names = "sigma_min", "sigma_max", "rho", "sigma_data"
  return Consistency(**{name: case.meta[name] for name in names})


def check_loss(case, objective, levels):
  """Compares loss and gradient; returns nothing."""
  limit = tolerance(case, "consistency")
  targets = {n: parameters(case, n) for n in objective.target_names}
  samples = {
    "x0": case.arrays["in/images"],
    "noise": case.arrays["in/noise"],
    "levels": levels,
    "y": None,
  }

  @fast_compile_jit
  def run(params):
    loss = jax.value_and_grad(objective.loss, has_aux=True)
    return loss(params, samples, jax.random.key(0), targets)

  (loss, metrics), gradient = run(parameters(case, "net"))
  assert metrics.keys() == set(objective.metric_names)
  for name, expected in case.under("grad").items():
    assert relative(gradient[name], expected) < limit, name
  return loss


@cases("one_step/c[dt]_*.npz", lambda case: case.meta["kind"] in ("cd", "ct"))
def test_discrete_loss(case):
  meta, process = case.meta, process_of(case)
  settings = {"distance": meta["norm"], "weighting": meta["weighting"]}
  if meta["kind"] == "cd":
    objective = ConsistencyDistillation(
      toy_network,
      process,
      solver=meta["solver"],
      scales=meta["num_scales"],
      decay=0.9,
      **settings,
    )
    assert objective.num_scales(0) == meta["num_scales"]
  else:  # The slope to the clean image is the same for every solver.
    objective = ConsistencyTraining(toy_network, process, **settings)
  index, scales = case.arrays["in/index"], meta["num_scales"]
  pair = Pair(process.level(index, scales), process.level(index + 1, scales))
  # The pairs that training finds from continuous levels are those of the grid.
  between = process.pair_around((pair.high * pair.low) ** 0.5, scales)
  np.testing.assert_allclose(between, pair)
  loss = check_loss(case, objective, pair)
  assert relative(loss, case.arrays["out/loss"]) < tolerance(
    case, "consistency"
  )


@cases("one_step/continuous_*.npz")
def test_continuous_loss(case):
  meta, process = case.meta, process_of(case)
  cls = ContinuousConsistencyDistillation
  if meta["training"]:
    cls = ContinuousConsistencyTraining
  objective = cls(
    toy_network,
    process,
    distance=meta["norm"],
    stop_gradient=meta["stop_gradient"],
  )
  loss = check_loss(
    case, objective, process.sigma_at(case.arrays["in/uniform"])
  )
  assert relative(loss, case.arrays["out/loss"]) < tolerance(
    case, "consistency"
  )


@cases("one_step/ect_*.npz")
def test_easy_consistency(case):
  meta, limit = case.meta, tolerance(case, "consistency")
  process = EDM(
    sigma_data=meta["sigma_data"], p_mean=meta["P_mean"], p_std=meta["P_std"]
  )
  settings = {name: meta[name] for name in ("mapping", "q", "k", "b")}
  objective = EasyConsistency(
    toy_network, process, huber_c=meta["c"], **settings
  )
  t = process.sigma_at(case.arrays["in/normal"])
  r = objective.lower_level(t, meta["stage"])
  np.testing.assert_allclose(t, case.arrays["out/t"], limit)
  np.testing.assert_allclose(r, case.arrays["out/r"], limit, atol=1e-6)
  loss = check_loss(case, objective, Pair(t, r))
  assert relative(loss, case.arrays["out/loss"].mean()) < limit


@cases("one_step/ct_schedule*.npz")
def test_schedule(case):
  meta = case.meta
  objective = ConsistencyTraining(
    toy_network,
    Consistency(),
    start_scales=meta["start_scales"],
    end_scales=meta["end_scales"],
    schedule_steps=meta["total"],
    start_decay=meta["start_ema"],
  )
  step, expected = case.arrays["in/step"], case.under("out")
  scales = objective.num_scales(step)
  np.testing.assert_array_equal(scales, expected["num_scales"])
  # float64 on the host, rounded to float32.
  np.testing.assert_allclose(
    objective.target_decay(step), expected["target_ema"], 1e-7
  )


@pytest.mark.parametrize("stage", [0, 3])
def test_stages_of_easy_consistency(stage):
  """The levels of a step are those of its stage."""
  objective = EasyConsistency(toy_network, EDM(p_std=2.0), stage_steps=7)
  levels = [
    objective.prepare(
      {"image": np.zeros((4, 2, 2, 1))}, jax.random.key(0), step
    )["levels"]
    for step in (7 * stage, 7 * stage + 6, jnp.int32(7 * stage))
  ]
  expected = objective.lower_level(levels[0].high, stage)
  for pair in levels:
    np.testing.assert_array_equal(pair.low, expected)

"""Progressive distillation against the official code."""

import jax
import numpy as np
from cases import cases
from golden_numbers import fast_compile_jit, relative
from test_golden_consistency import parameters, toy_network
from tolerances import tolerance

from get_jax.diffusion.edm import EDM
from get_jax.diffusion.objectives.progressive_distillation import (
  ProgressiveDistillation,
)


@cases("one_step/pd_*.npz", lambda case: case.meta["kind"] == "pd")
def test_loss(case):
  meta, limit = case.meta, tolerance(case, "progressive_distillation")
  objective = ProgressiveDistillation(
    toy_network,
    EDM(sigma_data=meta["sigma_data"]),
    distance=meta["norm"],
    weighting=meta["weighting"],
    **{name: meta[name] for name in ("sigma_min", "sigma_max", "rho")},
  )
  samples = {
    "x0": case.arrays["in/images"],
    "noise": case.arrays["in/noise"],
    "levels": objective.halves(case.arrays["in/index"], meta["num_scales"]),
    "y": None,
  }
  targets = {"teacher": parameters(case, "target")}

  @fast_compile_jit
  def run(params):
    loss = jax.value_and_grad(objective.loss, has_aux=True)
    return loss(params, samples, jax.random.key(0), targets)

  (loss, metrics), gradient = run(parameters(case, "net"))
  assert metrics.keys() == set(objective.metric_names)
  assert relative(loss, case.arrays["out/loss"]) < limit
  for name, expected in case.under("grad").items():
    assert relative(gradient[name], expected) < limit, name


@cases("one_step/pd_*.npz", lambda case: case.meta["kind"] == "pd_schedule")
def test_schedule(case):
  objective = ProgressiveDistillation(
    toy_network,
    EDM(),
    start_scales=case.meta["start_scales"],
    steps_per_stage=case.meta["steps_per_stage"],
  )
  step, expected = case.arrays["in/step"], case.arrays["out/num_scales"]
  np.testing.assert_array_equal(objective.num_scales(step), expected)

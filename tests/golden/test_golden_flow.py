"""Flow matching and its samplers against SiT's official code."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases
from golden_numbers import fast_compile_jit, relative
from numpy_scheme import run_scheme
from tolerances import tolerance

from get_jax.diffusion import create_process, create_sampler


def network(case, xp=jnp):
  """The network of the README: tanh(x W + t u) V."""
  dtype = np.float64 if xp is np else np.float32
  w, u, v = (case.arrays[f"net/{name}"].astype(dtype) for name in "WuV")

  def net(x, t):
    hidden = xp.tanh(x.reshape(len(x), -1) @ w + t[:, None] * u)
    return (hidden @ v).reshape(x.shape)

  return net


def process_of(case, **fields):
  return create_process(
    "flow_matching", path=case.meta["path"].lower(), **fields
  )


@pytest.mark.parametrize("xp, precision", [(np, "float64"), (jnp, "float32")])
@cases("one_step/sit_path_*.npz")
def test_paths(case, xp, precision):
  rtol = tolerance(case, "flow", precision)
  process, t = process_of(case), case.arrays["in/t"]
  expected = case.under("out")
  scales = process.interpolant.scales(t, xp)
  for name, got in scales._asdict().items():
    np.testing.assert_allclose(got, expected.pop(name), rtol, err_msg=name)
  if xp is jnp:  # The samplers' coefficients are tables in float64.
    return
  for name, values in expected.items():
    sampler = create_sampler(
      "flow_sde",
      process,
      diffusion=name.removeprefix("diffusion_").lower(),
      diffusion_norm=case.meta["norm"],
    )
    got = [sampler.diffusion_at(float(time)) for time in t]
    np.testing.assert_allclose(got, values, rtol, err_msg=name)


@cases("one_step/sit_loss_*.npz")
def test_losses(case):
  process = process_of(
    case,
    prediction=case.meta["prediction"],
    weighting=case.meta["weight"] or "none",
  )
  net, limit = network(case), tolerance(case, "flow", "float32")
  data, noise = (
    case.arrays[f"in/{name}"].astype(np.float32) for name in ("data", "noise")
  )
  t = case.arrays["in/t"].astype(np.float32)
  x = case.arrays["out/x_t"].astype(np.float32)

  @fast_compile_jit
  def run():
    loss, _ = process.loss_at(net, data, t, noise)
    return loss, process.velocity(net)(x, t), process.score(net)(x, t)

  for name, got in zip(("loss", "drift", "score"), run(), strict=True):
    expected = case.arrays[f"out/{name}"]
    np.testing.assert_allclose(got, expected, limit, limit, err_msg=name)


def sampler_of(case):
  meta = case.meta
  settings = {
    "num_steps": meta["points"] - 1,
    "solver": meta["method"],
    "t_start": meta["t0"],
    "t_end": meta["t1"],
  }
  if "diffusion" not in meta:
    return create_sampler("flow_ode", process_of(case), **settings)
  last_step = meta["last_step"]
  settings |= {
    "diffusion": meta["diffusion"].lower(),
    "diffusion_norm": meta["norm"],
    "last_step": (last_step or "none").lower(),
    "last_step_size": meta["last_step_size"],
    "num_steps": settings["num_steps"] + (last_step is not None),
  }
  return create_sampler("flow_sde", process_of(case), **settings)


@cases("one_step/sit_[os]de_*.npz")
def test_trajectories(case):
  sampler, x = sampler_of(case), case.arrays["in/x"]
  scheme, expected = sampler.scheme, case.arrays["out/states"]
  noises = case.arrays.get("in/noise", np.zeros((1, *x.shape)))
  exact = run_scheme(scheme, network(case, np), x, noises)
  table = jnp.asarray(np.stack([x, x, *noises]), jnp.float32)
  _, states = fast_compile_jit(
    lambda: sampler(
      network(case),
      lambda stream, shape: table[stream],
      x.shape[1:],
      trajectory=True,
    )
  )()
  if "diffusion" in case.meta:  # The states of an SDE are without the first.
    if case.meta["last_step"] is None:  # The last one is there twice.
      np.testing.assert_array_equal(expected[-1], expected[-2])
      expected = expected[:-1]
    expected = np.concatenate([x[None], expected])
    if sampler.solver == "heun":  # Ours have the noise that begins a step.
      starts = np.flatnonzero(scheme.starts_step)
      for state, row in zip(expected, starts, strict=False):
        state += scheme.noise_scale[row] * noises[scheme.noise_index[row]]
  for got, precision in ((exact, "float64"), (states, "float32")):
    assert len(got) == len(expected)
    for state, value in zip(got, expected, strict=True):
      assert relative(state, value) < tolerance(case, "flow", precision)

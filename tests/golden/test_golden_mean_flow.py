"""MeanFlow and improved MeanFlow against the official codes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, cases, files
from golden_numbers import fast_compile_jit, relative
from mean_flow_cases import (
  imf,
  improved_objective,
  mean_flow_dit,
  mean_flow_objective,
  prepared,
)
from tolerances import tolerance

from get_jax.diffusion import create_process, create_sampler
from get_jax.diffusion.linear_path import LinearPath
from get_jax.diffusion.objectives.improved_mean_flow import (
  SCALARS,
  ImprovedMeanFlow,
)
from get_jax.interop.convert import import_checkpoint
from get_jax.interop.official import load_official
from get_jax.models import create_model
from get_jax.models.counting import count_parameters
from get_jax.models.parameters import abstract_params


def check_gradient(got, expected, limit):
  """Compares trees; arrays whose gradient is rounding error, in absolute."""
  pairs = jax.tree.map(lambda a, b: (np.asarray(a), b), got, expected)
  leaves = jax.tree.leaves(pairs, is_leaf=lambda x: isinstance(x, tuple))
  total = np.sqrt(sum(np.sum(np.square(b)) for _, b in leaves))
  for a, b in leaves:
    error = np.linalg.norm(a - b)
    assert error < limit * max(np.linalg.norm(b), 0.01 * total)


def parameters(model):
  """Returns the number of trained parameters."""
  return count_parameters(abstract_params(model))[0]


def imf_conditions(given):
  """Returns the scalars of the network of a case."""
  return dict(w=given["omega"], t_min=given["t_min"], t_max=given["t_max"])


@cases("meanflow/mf_forward*.npz")
def test_forward(case):
  model, given = mean_flow_dit(case), case.under("in")
  params = load_official(model, case.under("params"))

  @fast_compile_jit
  def run(params):
    x, t, y, h = (given[name] for name in "xtyh")
    return model.apply({"params": params}, x, t, y, h=h)

  got = run(params)
  assert relative(got, case.arrays["out/u"]) < tolerance(case, "meanflow")


@cases("meanflow/mf_loss_*.npz")
def test_loss(case):
  model = mean_flow_dit(case)
  objective = mean_flow_objective(case, model)
  params, samples = load_official(model, case.under("params")), prepared(case)
  value_and_grad = jax.value_and_grad(objective.loss, has_aux=True)
  run = fast_compile_jit(
    lambda p: value_and_grad(p, samples, jax.random.key(0), {})
  )
  (loss, metrics), grads = run(params)
  limit, size = tolerance(case, "meanflow"), samples["x0"][0].size
  assert relative(loss, case.arrays["out/loss"]) < limit
  velocity_loss = case.arrays["out/v_loss"].mean() / size
  assert relative(metrics["velocity_loss"], velocity_loss) < limit
  expected = load_official(model, case.under("grad"))
  del grads["positions"], expected["positions"]  # a constant
  check_gradient(grads, expected, tolerance(case, "meanflow", "grad"))


def sample(case, sampler, net):
  """Returns the samples of a case."""
  z = jnp.asarray(case.arrays["in/z"])
  run = fast_compile_jit(
    lambda: sampler(net, lambda stream, shape: z, z.shape[1:])
  )
  return run()


def times_of(case):
  times = tuple(map(float, case.arrays["in/timesteps"]))
  return {"times": times, "num_steps": len(times) - 1}


@cases("meanflow/mf_sample_*.npz")
def test_samples(case):
  model = mean_flow_dit(case)
  params = load_official(model, case.under("params"))
  sampler = create_sampler("mean_flow", LinearPath(), **times_of(case))
  y = case.arrays["in/y"]

  def net(x, t, h):
    return model.apply({"params": params}, x, t, y, h=h)

  got = sample(case, sampler, net)
  assert relative(got, case.arrays["out/x"]) < tolerance(case, "meanflow")


@pytest.mark.parametrize("path", files("meanflow/mf_counts*.json"))
def test_mean_flow_parameters(path):
  for name, count in json.loads(path.read_text()).items():
    assert parameters(create_model(name)) == count, name


@cases("meanflow/imf_forward*.npz")
def test_improved_forward(case):
  model, given = imf(case), case.under("in")
  params = load_official(model, case.under("params"))

  @fast_compile_jit
  def run(params):
    x, t, y, h = (given[name] for name in "xtyh")
    scalars = dict(h=h, **imf_conditions(given))
    both = model.apply({"params": params}, x, t, y, train=True, **scalars)
    return both, model.apply({"params": params}, x, t, y, **scalars)

  both, u = run(params)
  limit = tolerance(case, "meanflow")
  assert relative(u, case.arrays["out/u"]) < limit
  expected = [case.arrays["out/u"], case.arrays["out/v"]]
  assert relative(both, np.concatenate(expected, axis=-1)) < limit


@cases("meanflow/imf_loss_*.npz")
def test_improved_loss(case):
  model = imf(case)
  objective = improved_objective(case, model)
  params = load_official(model, case.under("params"))
  samples = prepared(case) | imf_conditions(case.under("in"))
  value_and_grad = jax.value_and_grad(objective.loss, has_aux=True)
  run = fast_compile_jit(
    lambda p: value_and_grad(p, samples, jax.random.key(0), {})
  )
  (loss, metrics), grads = run(params)
  limit = tolerance(case, "meanflow")
  assert relative(loss, case.arrays["out/loss"]) < limit
  for name in ("loss_u", "loss_v"):
    assert relative(metrics[name], case.arrays[f"out/{name}"]) < limit
  expected = load_official(model, case.under("grad"))
  check_gradient(grads, expected, tolerance(case, "meanflow", "grad"))


@cases("meanflow/imf_sample_*.npz")
def test_improved_samples(case):
  model, meta = imf(case), case.meta
  params = load_official(model, case.under("params"))
  sampler = create_sampler(
    "improved_mean_flow",
    create_process("mean_flow"),
    w=meta["omega"],
    t_min=meta["t_min"],
    t_max=meta["t_max"],
    **times_of(case),
  )
  y = case.arrays["in/y"]

  def net(x, t, **scalars):
    return model.apply({"params": params}, x, t, y, **scalars)

  got = sample(case, sampler, net)
  assert relative(got, case.arrays["out/x"]) < tolerance(case, "meanflow")


@cases("meanflow/imf_cfg_scale_*.npz")
def test_guidance_scales(case):
  objective = ImprovedMeanFlow(
    lambda *_: None,
    LinearPath(),
    null=0,
    w_max=1 + case.meta["s_max"],
    w_power=case.meta["cfg_beta"],
  )
  got = objective.guidance_scales(case.arrays["in/u"])
  np.testing.assert_allclose(
    got, case.arrays["out/omega"], rtol=tolerance(case, "meanflow")
  )


@pytest.mark.parametrize("path", files("meanflow/imf_counts*.json"))
def test_improved_parameters(path):
  for name, count in json.loads(path.read_text()).items():
    variant, kind = name.split()
    model = create_model(variant, v_head=kind == "training")
    assert parameters(model) == count, name


CHECKPOINTS = files("meanflow/imf_checkpoint*/checkpoint_*")
files("meanflow/imf_checkpoint*/forward_of_average.npz")


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
def test_average_of_an_official_checkpoint(path):
  case = Case(path.parent / "forward_of_average.npz")
  given, limit = case.under("in"), tolerance(case, "meanflow")
  inputs = [given[name] for name in "xty"]
  scalars = dict(h=given["h"], **imf_conditions(given))
  assert set(scalars) == set(SCALARS)
  for v_head in (True, False):
    model = imf(case, v_head=v_head)
    params = import_checkpoint(path, model)
    out = jax.jit(model.apply, static_argnames="train")(
      {"params": params}, *inputs, train=v_head, **scalars
    )
    channels = given["x"].shape[-1]
    assert relative(out[..., :channels], case.arrays["out/u"]) < limit
    if v_head:
      assert relative(out[..., channels:], case.arrays["out/v"]) < limit

"""ADM's discrete process and its samplers against the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import nhwc, relative, replay

from get_jax.diffusion import create_process, create_sampler
from get_jax.diffusion.respacing import space_timesteps

TABLES = {
  "betas": "betas",
  "alphas_cumprod": "alpha_bar",
  "alphas_cumprod_prev": "alpha_bar_prev",
  "alphas_cumprod_next": "alpha_bar_next",
  "posterior_variance": "posterior_variance",
  "posterior_log_variance_clipped": "posterior_log_variance",
  "posterior_mean_coef1": "posterior_x0",
  "posterior_mean_coef2": "posterior_xt",
}


def from_spec(spec):
  """The process that the official `create_diffusion(**spec)` makes."""
  settings = {"spacing": spec["timestep_respacing"]}
  if spec.get("noise_schedule") == "squaredcos_cap_v2":
    settings["beta_schedule"] = "cosine"
  if "diffusion_steps" in spec:
    settings["num_timesteps"] = spec["diffusion_steps"]
  if not spec.get("learn_sigma", True):
    small = spec.get("sigma_small", False)
    settings["variance"] = "fixed_small" if small else "fixed_large"
  if spec.get("predict_xstart"):
    settings["prediction"] = "data"
  if spec.get("rescale_learned_sigmas"):
    settings["objective"] = "rescaled_mse"
  if spec.get("use_kl"):
    settings["objective"] = "bound"
  return create_process("adm", **settings)


def test_tables(golden):
  data = golden("dit/diffusion_tables")
  for name, spec in data.meta["specs"].items():
    process = from_spec(spec)
    expected = data.under(f"out/{name}")
    for theirs, ours in TABLES.items():
      got = getattr(process.tables, ours)
      np.testing.assert_allclose(got, expected[theirs], rtol=1e-10, atol=0)
    steps = process.tables.timesteps
    np.testing.assert_array_equal(steps, expected["timestep_map"])
  for key, expected in data.under("out/space_timesteps").items():
    total, word = key.split("|")
    assert space_timesteps(int(total), word) == tuple(expected)


@pytest.mark.parametrize("case", ["1000", "respaced50"])
def test_one_step(golden, case):
  data = golden(f"dit/p_mean_variance_{case}")
  given = data.under("in")
  x, x0, noise, out = (
    nhwc(given[k]) for k in ("x", "x_start", "noise", "model_output")
  )
  index = jnp.asarray(given["t"])
  process = from_spec(data.meta["spec"])
  expected = {
    k: nhwc(v) if v.ndim == 4 else v for k, v in data.under("out").items()
  }

  def check(name, got):
    got = np.broadcast_to(got, expected[name].shape)
    assert relative(got, expected[name]) < 2e-6, name

  np.testing.assert_array_equal(
    process.network_timestep(index), expected["model_t"]
  )
  check("q_sample", process.q_sample(x0, index, noise))
  mean, variance = process.q_mean_variance(x0, index)
  check("q_mean_variance/mean", mean)
  check("q_mean_variance/variance", variance)
  check("q_mean_variance/log_variance", np.log(variance))
  mean, log_variance = process.q_posterior(x0, x, index)
  check("q_posterior/mean", mean)
  check("q_posterior/log_variance_clipped", log_variance)
  variance = process.tables.posterior_variance[given["t"]]
  check("q_posterior/variance", variance[:, None, None, None])
  specs = {"learned_range_clip0": {}, "learned_range_clip1": {}}
  for name, spec in {**specs, **data.meta["extra"]}.items():
    reader = from_spec({**data.meta["spec"], **spec})
    channels = 8 if spec.get("learn_sigma", True) else 4
    clip = name.endswith("clip1")
    reverse = reader.p_mean_variance(out[..., :channels], x, index, clip=clip)
    check(f"{name}/mean", reverse.mean)
    check(f"{name}/log_variance", reverse.log_variance)
    variance = np.exp(reverse.log_variance)
    if name == "fixed_small":  # the official variance is unclipped here
      variance = np.where(index == 0, 0.0, variance[:, 0, 0, 0])
      variance = variance[:, None, None, None]
    check(f"{name}/variance", variance)
    check(f"{name}/pred_xstart", reverse.x0)


@pytest.mark.parametrize("case", ["1000", "respaced50"])
def test_one_step_of_the_samplers(golden, case):
  """Rows of the samplers' tables are the official single steps."""
  data = golden(f"dit/p_mean_variance_{case}")
  given, expected = data.under("in"), data.under("out")
  process = from_spec(data.meta["spec"])
  steps = len(process.tables.timesteps)
  for i, index in enumerate(given["t"]):
    x, noise, out = (nhwc(given[k])[i] for k in ("x", "noise", "model_output"))
    reverse = process.p_mean_variance(out[None], x[None], int(index))
    std = np.exp(0.5 * reverse.log_variance[0]) * (index > 0)
    got = reverse.mean[0] + std * noise
    assert relative(got, nhwc(expected["p_sample"])[i]) < 2e-6
    for eta in (0.0, 0.7):
      scheme = create_sampler(
        "ddim", process, num_steps=process.spacing, eta=eta
      ).scheme
      row = steps - 1 - index
      got = scheme.base_weight[row] * x
      got += scheme.weights[row, 0] * np.asarray(reverse.x0[0])
      if eta and index:
        assert scheme.noise_index[row + 1] == row
        got += scheme.noise_scale[row + 1] * noise
      name = f"ddim_eta{eta or 0}"
      assert relative(got, nhwc(expected[name])[i]) < 2e-6, index


def test_encoding_by_ddim(golden):
  data = golden("dit/p_mean_variance_respaced50")
  given, expected = data.under("in"), nhwc(data.arrays["out/ddim_reverse"])
  process = from_spec(data.meta["spec"])
  sampler = create_sampler("ddim", process, num_steps=process.spacing)
  for i, index in enumerate(given["t"]):
    out = jnp.asarray(nhwc(given["model_output"])[i])[None]
    got = sampler.encoding_step(
      lambda x, t, out=out: out, nhwc(given["x"])[i : i + 1], int(index)
    )
    assert relative(got[0], expected[i]) < 2e-6


def test_training_losses(golden):
  data = golden("dit/training_losses")
  given = data.under("in")
  x0, noise = nhwc(given["x_start"]), nhwc(given["noise"])
  index = jnp.asarray(given["t"])
  first = given["t"] == 0
  for name, spec in data.meta["specs"].items():
    process = from_spec(spec)
    suffix = "_xstart" if spec.get("predict_xstart") else ""
    channels = 8 if spec.get("learn_sigma", True) else 4
    out = nhwc(given[f"model_output{suffix}"])[..., :channels]

    def loss(out, process=process):
      loss, terms = process.loss_at(lambda x, t: out, x0, index, noise)
      return loss.mean(), {**terms, "loss": loss}

    (_, terms), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(out)
    for key, expected in data.under(f"out/{name}").items():
      got = terms[key]
      np.testing.assert_allclose(
        got[~first], expected[~first], rtol=1e-5 if key == "mse" else 1e-4
      )
      np.testing.assert_allclose(got[first], expected[first], rtol=1e-3)
    expected = nhwc(data.arrays[f"grad/{name}/model_output"])[..., :channels]
    assert relative(grad[~first], expected[~first]) < 1e-4
    assert relative(grad[first], expected[first]) < 1e-2
  process = create_process("adm")
  np.testing.assert_allclose(
    process.prior_bpd(x0), data.arrays["out/prior_bpd"], rtol=1e-4
  )


def toy(x, t):
  """The analytic network of the trajectories, in the original timestep."""
  u = ((t + 1) / 1000)[:, None, None, None]
  s = jnp.sqrt(-jnp.expm1(-(9.95 * u**2 + 0.1 * u)))
  noise = s * x + 0.2 * jnp.sin(2 * x + 10 * u)
  return jnp.concatenate([noise, jnp.cos(x - 2 * u)], axis=-1)


@pytest.mark.parametrize(
  "run, name, settings",
  [
    ("ddpm", "ddpm", {"num_steps": 250}),
    ("ddpm_clip", "ddpm", {"num_steps": 250, "clip": True}),
    ("ddim_250", "ddim", {"num_steps": 250}),
    ("ddim25", "ddim", {"num_steps": "ddim25"}),
    ("ddim50_eta0.5", "ddim", {"num_steps": 50, "eta": 0.5}),
  ],
)
def test_trajectory_of_an_analytic_network(golden, run, name, settings):
  data = golden("dit/trajectory_toy")
  noise = replay(data.arrays["in/z"], data.arrays["in/noise"])
  sampler = create_sampler(name, create_process("adm"), **settings)
  x, states = jax.jit(lambda: sampler(toy, noise, (4, 4, 4), trajectory=True))()
  np.testing.assert_array_equal(states[-1], x)
  expected = data.under(f"out/{run}")
  if "samples" in expected:
    samples = nhwc(expected["samples"])
    stride = sampler.evaluations // len(samples)
    for got, theirs in zip(states[1::stride], samples, strict=True):
      assert relative(got, theirs) < 2e-5
  if "final" in expected:
    assert relative(x, nhwc(expected["final"])) < 2e-5

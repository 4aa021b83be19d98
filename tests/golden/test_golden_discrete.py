"""ADM's discrete process and its samplers against the official code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from cases import cases, each
from golden_numbers import chw_to_hwc, nhwc, relative, replay
from tolerances import tolerance

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


@cases("dit/diffusion_tables*.npz")
def test_tables(case):
  limit = tolerance(case, "dit/tables")
  for name, spec in case.meta["specs"].items():
    process = from_spec(spec)
    expected = case.under(f"out/{name}")
    tables = process.tables
    got = {theirs: getattr(tables, ours) for theirs, ours in TABLES.items()}
    got["sqrt_recip_alphas_cumprod"] = np.sqrt(1 / tables.alpha_bar)
    got["sqrt_recipm1_alphas_cumprod"] = np.sqrt(1 / tables.alpha_bar - 1)
    steps = expected.pop("timestep_map")
    np.testing.assert_array_equal(tables.timesteps, steps)
    assert expected
    for key, table in expected.items():
      np.testing.assert_allclose(
        got[key], table, rtol=limit, atol=0, err_msg=f"{name} {key}"
      )
  for key, expected in case.under("out/space_timesteps").items():
    total, word = key.split("|")
    assert space_timesteps(int(total), word) == tuple(expected)


def channels_of(spec, x):
  """The number of channels of the network's output."""
  return x.shape[-1] * (2 if spec.get("learn_sigma", True) else 1)


@cases("dit/p_mean_variance_*.npz")
def test_one_step(case):
  given, spec = case.under("in"), case.meta["spec"]
  limit = tolerance(case, "dit/step")
  x, x0, noise, out = (
    nhwc(given[k]) for k in ("x", "x_start", "noise", "model_output")
  )
  index = jnp.asarray(given["t"])
  process = from_spec(spec)
  expected = {
    k: nhwc(v) if v.ndim == 4 else v for k, v in case.under("out").items()
  }

  def check(name, got):
    if name in expected:
      got = np.broadcast_to(got, expected[name].shape)
      assert relative(got, expected[name]) < limit, name

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
  others = [name for name in case.groups("out") if not name.startswith("q_")]
  assert case.meta["extra"].keys() <= set(others)
  for name in others:
    changed = {**spec, **case.meta["extra"].get(name, {})}
    reader = from_spec(changed)
    output = out[..., : channels_of(changed, x)]
    clip = name.endswith("clip1")
    reverse = reader.p_mean_variance(output, x, index, clip=clip)
    check(f"{name}/mean", reverse.mean)
    check(f"{name}/log_variance", reverse.log_variance)
    variance = np.exp(reverse.log_variance)
    if reader.variance == "fixed_small":  # the official one is unclipped here
      variance = np.where(index == 0, 0.0, variance[:, 0, 0, 0])
      variance = variance[:, None, None, None]
    check(f"{name}/variance", variance)
    check(f"{name}/pred_xstart", reverse.x0)


@cases("dit/p_mean_variance_*.npz")
def test_one_step_of_the_samplers(case):
  """Rows of the samplers' tables are the official single steps."""
  given, expected = case.under("in"), case.under("out")
  limit = tolerance(case, "dit/step")
  process = from_spec(case.meta["spec"])
  steps = len(process.tables.timesteps)
  schemes = {}
  for name in expected:
    if name.startswith("ddim_eta"):
      schemes[name] = create_sampler(
        "ddim",
        process,
        num_steps=process.spacing,
        eta=float(name.removeprefix("ddim_eta")),
      ).scheme
  assert schemes
  for i, index in enumerate(given["t"]):
    x, noise, out = (nhwc(given[k])[i] for k in ("x", "noise", "model_output"))
    reverse = process.p_mean_variance(out[None], x[None], int(index))
    std = np.exp(0.5 * reverse.log_variance[0]) * (index > 0)
    got = reverse.mean[0] + std * noise
    assert relative(got, nhwc(expected["p_sample"])[i]) < limit, index
    for name, scheme in schemes.items():
      row = steps - 1 - index
      got = scheme.base_weight[row] * x
      got += scheme.weights[row, 0] * np.asarray(reverse.x0[0])
      if scheme.noise_scale is not None and index:
        assert scheme.noise_index[row + 1] == row
        got += scheme.noise_scale[row + 1] * noise
      assert relative(got, nhwc(expected[name])[i]) < limit, (name, index)


@cases(
  "dit/p_mean_variance_*.npz", lambda case: "out/ddim_reverse" in case.names
)
def test_encoding_by_ddim(case):
  given, expected = case.under("in"), nhwc(case.arrays["out/ddim_reverse"])
  process = from_spec(case.meta["spec"])
  sampler = create_sampler("ddim", process, num_steps=process.spacing)
  for i, index in enumerate(given["t"]):
    out = jnp.asarray(nhwc(given["model_output"])[i])[None]
    got = sampler.encoding_step(
      lambda x, t, out=out: out, nhwc(given["x"])[i : i + 1], int(index)
    )
    assert relative(got[0], expected[i]) < tolerance(case, "dit/step"), index


@each("dit/training_losses*.npz", lambda case: case.meta["specs"])
def test_training_losses(case, name):
  given, spec = case.under("in"), case.meta["specs"][name]
  limit = functools.partial(tolerance, case, "dit/losses")
  x0, noise = nhwc(given["x_start"]), nhwc(given["noise"])
  index = jnp.asarray(given["t"])
  first = given["t"] == 0
  process = from_spec(spec)
  suffix = "_xstart" if spec.get("predict_xstart") else ""
  channels = channels_of(spec, x0)
  out = nhwc(given[f"model_output{suffix}"])[..., :channels]

  def loss(out):
    loss, terms = process.loss_at(lambda x, t: out, x0, index, noise)
    return loss.mean(), {**terms, "loss": loss}

  (_, terms), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(out)
  for key, expected in case.under(f"out/{name}").items():
    np.testing.assert_allclose(
      terms[key][~first],
      expected[~first],
      rtol=limit("mse" if key == "mse" else "loss"),
    )
    np.testing.assert_allclose(
      terms[key][first], expected[first], rtol=limit("first_loss")
    )
  expected = nhwc(case.arrays[f"grad/{name}/model_output"])[..., :channels]
  assert relative(grad[~first], expected[~first]) < limit("grad")
  assert relative(grad[first], expected[first]) < limit("first_grad")


@cases("dit/training_losses*.npz", lambda case: "out/prior_bpd" in case.names)
def test_prior(case):
  process = from_spec(next(iter(case.meta["specs"].values())))
  np.testing.assert_allclose(
    process.prior_bpd(nhwc(case.arrays["in/x_start"])),
    case.arrays["out/prior_bpd"],
    rtol=tolerance(case, "dit/losses", "loss"),
  )


def toy(x, t):
  """The analytic network of the trajectories, in the original timestep."""
  u = ((t + 1) / 1000)[:, None, None, None]
  s = jnp.sqrt(-jnp.expm1(-(9.95 * u**2 + 0.1 * u)))
  noise = s * x + 0.2 * jnp.sin(2 * x + 10 * u)
  return jnp.concatenate([noise, jnp.cos(x - 2 * u)], axis=-1)


@each("dit/trajectory_toy*.npz", lambda case: case.groups("out"))
def test_trajectory_of_an_analytic_network(case, name):
  if name in case.meta["ddim"]:
    run = case.meta["ddim"][name]
    settings = {"num_steps": run["respacing"], "eta": run["eta"]}
    method = "ddim"
  else:
    settings = {"num_steps": case.meta["ddpm_respacing"]}
    settings["clip"] = name.endswith("_clip")
    method = "ddpm"
  start = case.arrays["in/z"]
  noise = replay(start, case.arrays["in/noise"])
  sampler = create_sampler(method, create_process("adm"), **settings)
  shape = chw_to_hwc(start.shape)
  x, states = jax.jit(lambda: sampler(toy, noise, shape, trajectory=True))()
  np.testing.assert_array_equal(states[-1], x)
  expected = case.under(f"out/{name}")
  limit = tolerance(case, "dit/trajectory")
  assert {"samples", "final"} & expected.keys()
  if "samples" in expected:  # of all steps, or of every n-th
    samples = nhwc(expected["samples"])
    stride = -(-sampler.evaluations // len(samples))
    for got, theirs in zip(states[1::stride], samples, strict=True):
      assert relative(got, theirs) < limit
  if "final" in expected:
    assert relative(x, nhwc(expected["final"])) < limit
  if "timestep_map" in expected:
    times = sampler.respaced.tables.timesteps
    np.testing.assert_array_equal(times, expected["timestep_map"])

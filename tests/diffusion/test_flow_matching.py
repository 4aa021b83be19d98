"""Flow matching on normal data, whose flow is known in closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fast_compile import fast_compile_jit
from gaussian_flow import Gaussian
from numpy_scheme import run_scheme

from get_jax.diffusion import Guidance, create_process, create_sampler
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objectives.denoising import Denoising
from get_jax.diffusion.samplers.flow import DIFFUSIONS, LAST_STEPS, FlowSDE
from get_jax.errors import UsageError

PATHS = ("linear", "gvp", "vp")
PREDICTIONS = ("velocity", "noise", "score")
EVERY = [
  create_process("flow_matching", path=path, prediction=prediction)
  for path, prediction in itertools.product(PATHS, PREDICTIONS)
]
BY_NAME = {f"{p.path}, {p.prediction}": p for p in EVERY}
DATA = Gaussian(mean=0.4, std=0.6)


def exact_network(process, data=DATA, xp=np):
  """The network that predicts the exact expectation."""

  def net(x, t):
    s = process.interpolant.scales(t / process.time_scale, xp)
    s = type(s)(*(a.reshape(-1, *[1] * (x.ndim - 1)) for a in s))
    match process.prediction:
      case "velocity":
        return data.velocity(x, s.alpha, s.sigma, s.d_alpha, s.d_sigma)
      case "noise":
        return data.noise(x, s.alpha, s.sigma)
      case _:
        return data.score(x, s.alpha, s.sigma)

  return net


def test_a_single_image_is_learned_exactly():
  """Its flow has loss 0 and gradient 0, with every weighting."""
  image = Gaussian(mean=0.7, std=0.0)
  x0, noise = (
    jnp.full((5, 2, 2, 1), 0.7),
    jax.random.normal(jax.random.key(0), (5, 2, 2, 1)),
  )
  t = jnp.linspace(0.1, 0.9, 5)
  processes = [
    create_process("flow_matching", path=path, prediction=p, weighting=weight)
    for path, p in itertools.product(PATHS, PREDICTIONS)
    for weight in ("none", "velocity", "likelihood")
    if p != "velocity" or weight == "none"
  ]

  @fast_compile_jit
  def run():
    results = []
    for process in processes:
      exact = exact_network(process, image, jnp)

      def loss(shift, process=process, exact=exact):
        def net(x, t):
          return exact(x, t) + shift

        return process.loss_at(net, x0, t, noise)[0].mean()

      results.append((*jax.value_and_grad(loss)(0.0), loss(0.1)))
    return results

  for process, (loss, gradient, other) in zip(processes, run(), strict=True):
    assert loss < 1e-9 * other, process
    assert abs(gradient) < 1e-4 * other, process


def test_the_exact_network_is_the_regression_of_the_target():
  """The error of the exact network has no mean and no slope in x."""
  count = 20_000
  keys = jax.random.split(jax.random.key(1))
  x0 = DATA.sample(keys[0], (count, 1, 1, 1))
  noise, t = jax.random.normal(keys[1], x0.shape), jnp.full(count, 0.6)

  @fast_compile_jit
  def run():
    results = []
    for process in EVERY:
      exact = exact_network(process, DATA, jnp)

      def loss(shift, slope, process=process, exact=exact):
        def net(x, t):
          return exact(x, t) + shift + slope * x

        return process.loss_at(net, x0, t, noise)[0].mean()

      results.append(jax.value_and_grad(loss, (0, 1))(0.0, 0.0))
    return results

  for process, (loss, gradient) in zip(EVERY, run(), strict=True):
    # Five standard deviations of the mean of twice the error.
    assert np.max(np.abs(gradient)) < 10 * np.sqrt(loss / count), process
    assert loss > 0.01  # The target itself is random.


@pytest.mark.parametrize("name", BY_NAME)
def test_order_of_the_ode(name):
  process = BY_NAME[name]
  net, x = exact_network(process), np.linspace(-2, 2, 9)[:, None]
  errors = {}
  for solver, count in itertools.product(("euler", "heun"), (32, 64)):
    sampler = create_sampler(
      "flow_ode",
      process,
      solver=solver,
      num_steps=count,
      # Away from the ends, where the derivatives of some paths are infinite.
      t_start=0.1,
      t_end=0.9,
    )
    assert sampler.evaluations == count * (1 + (solver == "heun"))
    ends = process.interpolant.scales(np.array([0.1, 0.9]))
    start, end = zip(ends.alpha, ends.sigma, strict=True)
    got = run_scheme(sampler.scheme, net, x)[-1]
    errors[solver, count] = np.abs(got - DATA.flow(x, start, end)).max()
  for solver, order in (("euler", 1), ("heun", 2)):
    slope = np.log2(errors[solver, 32] / errors[solver, 64])
    assert order - 0.2 < slope < order + 0.3, solver


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("name", BY_NAME)
def test_samples_of_the_ode(name, solver):
  """The default times of each path and prediction end close to the data."""
  process = BY_NAME[name]
  sampler = create_sampler("flow_ode", process, solver=solver, num_steps=200)
  x = np.array([[0.0], [1.0]])
  zero, one = run_scheme(sampler.scheme, exact_network(process), x)[-1, :, 0]
  # The flow is affine: the mean and the standard deviation of the samples.
  np.testing.assert_allclose((zero, one - zero), (0.4, 0.6), atol=0.02)


def affine_law(scheme, net):
  """Mean and standard deviation of samples of an affine network.

  They follow from one run per source of randomness.
  """
  steps = int(scheme.starts_step.sum())
  inputs = np.zeros((2 + steps, 1))
  inputs[1] = 1
  noises = np.zeros((steps, 2 + steps, 1))
  noises[np.arange(steps), 2 + np.arange(steps)] = 1
  zero, *others = run_scheme(scheme, net, inputs, noises)[-1, :, 0]
  return zero, np.linalg.norm(np.array(others) - zero)


SDES = [
  ("sigma", {}),
  ("linear", {}),
  ("decreasing", {}),
  ("increasing-decreasing", {}),
  ("constant", {"diffusion_norm": 0.3}),
  ("sbdm", {"last_step_size": 0.01}),
  ("sigma", {"last_step": "tweedie", "last_step_size": 0.02}),
  ("sigma", {"last_step": "euler"}),
  ("sigma", {"last_step": "none"}),
  ("sigma", {"diffusion_norm": 0.0}),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("diffusion, settings", SDES)
def test_law_of_the_sde(path, diffusion, settings):
  """Every diffusion has the same densities as the flow."""
  for solver, prediction in (("euler", "velocity"), ("heun", "score")):
    process = create_process("flow_matching", path=path, prediction=prediction)
    sampler = create_sampler(
      "flow_sde",
      process,
      solver=solver,
      num_steps=200,
      diffusion=diffusion,
      **settings,
    )
    last = sampler.last_step != "none"
    assert sampler.evaluations == (200 - last) * (1 + (solver == "heun")) + last
    law = affine_law(sampler.scheme, exact_network(process))
    np.testing.assert_allclose(law, (0.4, 0.6), atol=0.04, err_msg=solver)


def test_estimates_of_the_data():
  """Previews show the expectation of the data."""
  x = np.array([[-1.0], [0.5]], np.float32)
  for process in EVERY:
    sampler, time = create_sampler("flow_ode", process), jnp.float32(0.3)
    prediction = exact_network(process, DATA, jnp)(x, jnp.full(2, time))
    s = process.interpolant.scales(0.3)
    expected = DATA.denoised(x, s.alpha, s.sigma)
    got = sampler.denoised(x, time, prediction)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_velocity_and_score_agree_between_predictions():
  x, t = jnp.linspace(-1, 1, 8).reshape(2, 2, 2, 1), jnp.array([0.2, 0.7])
  for path in PATHS:
    found = [
      (p.velocity(net)(x, t), p.score(net)(x, t))
      for p in EVERY
      if p.path == path
      for net in [exact_network(p, DATA, jnp)]
    ]
    for other in found[1:]:
      np.testing.assert_allclose(other[0], found[0][0], atol=2e-6)
      np.testing.assert_allclose(other[1], found[0][1], atol=5e-6)


def test_a_learned_variance_is_not_used():
  """Training and guided sampling use the first C of 2 C channels."""
  process = create_process("flow_matching", time_scale=1000.0)
  x0 = jax.random.normal(jax.random.key(0), (3, 2, 2, 4))
  t, noise = jnp.array([0.1, 0.5, 0.9]), jnp.ones_like(x0)

  def plain(x, t, y):
    return jnp.tanh(x) * (1 + y + 1e-3 * t)[:, None, None, None]

  def wide(x, t, y):
    return jnp.concatenate([plain(x, t, y), jnp.full_like(x, 9.0)], -1)

  y, guidance = jnp.array([0.0, 1.0, 2.0]), Guidance(scale=1.5, channels=3)
  sampler = create_sampler("flow_sde", process, num_steps=5)
  start = SampleNoise.create(jax.random.key(0), np.arange(3))

  @fast_compile_jit
  def run():
    results = []
    for net in (plain, wide):
      loss, metrics = process.loss_at(
        lambda x, t, net=net: net(x, t, y), x0, t, noise
      )
      samples = sampler(guidance(net, y, jnp.array(5.0)), start, (2, 2, 4))
      results.append((loss, metrics, samples))
    return results

  first, second = run()
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_times_of_training():
  count, key = 20_000, jax.random.key(0)
  uniform = create_process("flow_matching").sample_levels(key, count)
  quantiles = np.quantile(uniform, [0.1, 0.5, 0.9])
  np.testing.assert_allclose(quantiles, [0.1, 0.5, 0.9], atol=0.02)
  process = create_process(
    "flow_matching", time_distribution="logit_normal", p_mean=-0.4, p_std=0.8
  )
  t = process.sample_levels(key, count)
  logits = np.log(t) - np.log1p(-t)
  np.testing.assert_allclose(logits.mean(), -0.4, atol=0.03)
  np.testing.assert_allclose(logits.std(), 0.8, atol=0.03)
  ends = {
    ("linear", "velocity"): (0, 1),
    ("gvp", "velocity"): (0, 1),
    ("vp", "velocity"): (0, 0.9),
    ("linear", "noise"): (0.1, 0.9),
    ("gvp", "score"): (0.1, 0.9),
    ("vp", "noise"): (0, 0.9),
  }
  for (path, prediction), expected in ends.items():
    process = create_process(
      "flow_matching", path=path, prediction=prediction, epsilon=0.1
    )
    got = process.time_at(np.array([0.0, 1.0]))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def flow(**settings):
  return create_process("flow_matching", **settings)


@pytest.mark.parametrize(
  "make, sentence",
  [
    (lambda: flow(path="cosine"), "path is 'cosine': expected one of gvp"),
    (lambda: flow(prediction="data"), "prediction is 'data'"),
    (lambda: flow(epsilon=0.5), "epsilon is 0.5: expected a number"),
    (
      lambda: flow(weighting="likelihood"),
      "weighting is 'likelihood': expected 'none', because the loss of",
    ),
    (
      lambda: create_sampler("heun", flow()),
      "Heun needs an EDM process .*, and not the process flow_matching",
    ),
    (
      lambda: create_sampler("flow_ode", create_process("vp")),
      "FlowODE needs the process flow_matching, and not the continuous",
    ),
    (
      lambda: create_sampler("flow_ode", flow(), solver="dopri5"),
      "solver is 'dopri5': expected one of euler, heun",
    ),
    (
      lambda: create_sampler("flow_ode", flow(), t_start=0.9, t_end=0.5),
      "from t_start=0.9 to t_end=0.5; expected 0 <= t_start < t_end <= 1",
    ),
    (
      # The official sampler gives NaN.
      lambda: create_sampler("flow_sde", flow(), diffusion="sbdm", t_start=0.0),
      "a coefficient of the step at t=0 is infinite; expected t_start",
    ),
    (
      lambda: create_sampler(
        "flow_ode", flow(path="vp", prediction="noise"), solver="heun", t_end=1
      ),
      "a coefficient of the step at t=1 is infinite",
    ),
    (
      lambda: create_sampler("flow_sde", flow(), num_steps=1),
      "num_steps is 1; expected at least 2",
    ),
    (
      lambda: create_sampler("flow_sde", flow(), diffusion="none"),
      "diffusion is 'none'",
    ),
    (
      lambda: create_sampler("flow_sde", flow(), last_step="Mean"),
      "last_step is 'Mean': did you mean 'mean'",
    ),
  ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_wrong_settings_are_one_sentence(make, sentence):
  with pytest.raises(UsageError, match=sentence):
    make()


CENTRES = np.array([[0.8, 0.0], [-0.4, 0.7], [-0.4, -0.7]], np.float32)
WIDTH = 0.15


def mixture_velocity(x, t):
  """The exact velocity of the linear path for three normal modes."""
  variance = (t * WIDTH) ** 2 + (1 - t) ** 2
  away = x[:, None] - t * CENTRES
  chance = jax.nn.softmax(-0.5 * (away**2).sum(-1) / variance)
  slope = (t * WIDTH**2 - (1 - t)) / variance
  return (chance[..., None] * (CENTRES + slope * away)).sum(1)


def test_a_small_network_learns_a_mixture():
  process = create_process("flow_matching")
  rng, sizes = np.random.default_rng(0), (4, 128, 128, 2)
  start = [
    (jnp.float32(rng.normal(0, 1.4 / np.sqrt(a), (a, b))), jnp.zeros(b))
    for a, b in itertools.pairwise(sizes)
  ]

  def apply(params, x, t, y=None, key=None):
    t = t[:, None]
    h = jnp.concatenate([x.reshape(-1, 2), t, t**2], axis=1)
    *hidden, (w, b) = params
    for layer in hidden:
      h = jax.nn.gelu(h @ layer[0] + layer[1])
    return (h @ w + b).reshape(x.shape)

  def exact(x, t):
    return mixture_velocity(x.reshape(-1, 2), t[0]).reshape(x.shape)

  objective, steps = Denoising(apply, process), 1_500
  optimizer = optax.adam(optax.linear_schedule(3e-3, 0.0, steps))

  def update(carry, step):
    params, state = carry
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), step), 3)
    mode = jax.random.randint(keys[0], (256,), 0, len(CENTRES))
    x0 = jnp.asarray(CENTRES)[mode]
    x0 = x0 + WIDTH * jax.random.normal(keys[1], x0.shape)
    batch = {"image": x0.reshape(-1, 1, 1, 2)}
    gradient = jax.grad(lambda p: objective(p, batch, keys[2])[0])(params)
    updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(params, updates), state), None

  sampler = create_sampler("flow_ode", process, solver="heun", num_steps=20)
  noise = SampleNoise.create(jax.random.key(1), np.arange(300))

  @jax.jit
  def run(start):
    carry = start, optimizer.init(start)
    (params, _), _ = jax.lax.scan(update, carry, jnp.arange(steps))

    def net(x, t):
      return apply(params, x, t)

    samples = sampler(net, noise, (1, 1, 2))
    expected, states = sampler(exact, noise, (1, 1, 2), trajectory=True)
    errors = []
    for step in (2, 10, 16):
      x, t = states[step], jnp.full(300, step / 20)
      errors.append(jnp.abs(net(x, t) - exact(x, t)).mean())
    return samples, expected, jnp.stack(errors)

  samples, expected, errors = run(start)
  # The velocity is about 1; it is steepest near the data.
  np.testing.assert_array_less(errors, (0.1, 0.15, 0.3))
  # The same noise goes to the same point as with the exact velocity.
  assert np.mean(np.abs(samples - expected)) < 0.06


def test_the_docstring_names_every_setting():
  for name in (*DIFFUSIONS, *LAST_STEPS):
    assert f'"{name}"' in FlowSDE.__doc__

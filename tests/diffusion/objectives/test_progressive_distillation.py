"""Progressive distillation on normal data, whose trajectories are known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fast_compile import fast_compile_jit
from gaussian_flow import Gaussian

from configs import guided_progressive_distillation_digits
from get_jax.builders.generator import build_generator
from get_jax.diffusion import SampleNoise, create_process, create_sampler
from get_jax.diffusion.edm import EDM
from get_jax.diffusion.noise import INITIAL
from get_jax.diffusion.objectives.consistency_schedules import halving
from get_jax.diffusion.objectives.guidance_distillation import (
  GuidanceDistillation,
)
from get_jax.diffusion.objectives.progressive_distillation import (
  ProgressiveDistillation,
)
from get_jax.diffusion.trajectory import trajectory_of
from get_jax.errors import UsageError
from get_jax.training.state import make_init_state
from get_jax.training.step import make_train_step

DATA = Gaussian(mean=0.4, std=0.6)
NOISE = np.random.default_rng(0).standard_normal((6, 2, 2, 1), np.float32)
STEPS = 4
PROCESSES = {
  "edm": create_process("edm", time_scale=100.0),
  "vp": create_process("vp"),
  "data": create_process("vp", beta_schedule="cosine", prediction="data"),
  "velocity": create_process("vp", prediction="velocity"),
  "adm": create_process("adm"),
}


def identity(params, x, t, y=None, key=None, train=True):
  return x


def position_of(process, trajectory, t):
  """The position at which the network has the time input t."""
  if isinstance(process, EDM):
    roots = [x ** (1 / 7) for x in (80.0, 0.002, process.sigma_of(t))]
    return (roots[2] - roots[0]) / (roots[1] - roots[0])
  time = t / 999 if hasattr(process, "target") else (t + 1) / 1000
  return 1 - time / trajectory.process.schedule.t_first


def output_of(process, noise, x, position, trajectory):
  """The output of a network that estimates the noise at x / alpha."""
  ratio = trajectory.ratio(position)[:, None, None, None]
  if isinstance(process, EDM):
    c = process.coefficients(ratio)
    return (x - ratio * noise - c.c_skip * x) / c.c_out
  if process.prediction == "data":
    return x - ratio * noise
  if process.prediction == "velocity":
    return (noise - ratio * (x - ratio * noise)) / jnp.sqrt(1 + ratio**2)
  return noise


def exact_apply(process, trajectory):
  """The exact noise, and with params["steps"] its mean over two half steps.

  "shift", a parameter, is added to it.
  """

  def noise(x, position):
    ratio = trajectory.ratio(position)[:, None, None, None]
    return DATA.noise(x, 1.0, ratio), ratio

  def apply(params, x, t, y=None, key=None, train=True):
    position = position_of(process, trajectory, t)
    if isinstance(process, EDM):
      sigma = process.sigma_of(t)[:, None, None, None]
      x = x / process.coefficients(sigma).c_in
    else:
      ratio = trajectory.ratio(position)[:, None, None, None]
      x = x * jnp.sqrt(1 + ratio**2)
    first, start = noise(x, position)
    if train:
      half = 0.5 / STEPS
      middle = trajectory.ratio(position + half)[:, None, None, None]
      at_middle = x + (middle - start) * first
      second, _ = noise(at_middle, position + half)
      # The last step ends where rounding may miss 1.
      end = trajectory.ratio(jnp.round((position + 2 * half) * STEPS) / STEPS)
      end = end[:, None, None, None]
      at_end = at_middle + (end - middle) * second
      first = (at_end - x) / (end - start)
    first = first + params["shift"]
    return output_of(process, first, x, position, trajectory)

  return apply


@pytest.mark.parametrize("name", PROCESSES)
def test_the_exact_student_is_a_fixed_point(name):
  """No loss, no gradient; and N of its steps are 2 N of its teacher's."""
  process = PROCESSES[name]
  trajectory = trajectory_of(process, "the test")
  apply = exact_apply(process, trajectory)
  objective = ProgressiveDistillation(
    apply, process, start_scales=STEPS, weighting="uniform"
  )
  zero = {"shift": jnp.float32(0)}
  noise = SampleNoise.create(jax.random.key(1), np.arange(5))

  @fast_compile_jit
  def run(shift):
    batch = {"image": DATA.mean + DATA.std * NOISE}
    samples = objective.prepare(batch, jax.random.key(0))

    def loss(params):
      targets = {"teacher": zero}
      return objective.loss(params, samples, jax.random.key(0), targets)[0]

    value = jax.value_and_grad(loss)
    ends = [
      create_sampler("euler_grid", process, num_steps=steps)(
        lambda x, t, train=train: apply(zero, x, t, train=train),
        noise,
        (2, 2, 1),
      )
      for steps, train in ((2 * STEPS, False), (STEPS, True))
    ]
    return value(zero), value({"shift": shift}), ends

  (loss, gradient), (shifted, pull), ends = run(jnp.float32(0.1))
  assert loss < 1e-6 and abs(gradient["shift"]) < 1e-3
  assert shifted > 1e-4 and pull["shift"] > 1e-2
  np.testing.assert_allclose(ends[1], ends[0], rtol=1e-3, atol=1e-3)
  # They follow the exact trajectories, up to the error of the steps.
  assert abs(np.mean(ends[0]) - DATA.mean) < 0.6


def test_rounds():
  stages = halving(8, 10)
  np.testing.assert_array_equal(stages.intervals, [8, 4, 2, 1])
  np.testing.assert_array_equal(stages.first_steps, [0, 10, 20, 40])
  np.testing.assert_array_equal(halving(1, 10).first_steps, [0])
  objective = ProgressiveDistillation(
    identity, EDM(), start_scales=8, steps_per_stage=10
  )
  steps = list(range(70))
  ends = [bool(objective.restarts_optimizer(step)) for step in steps]
  np.testing.assert_array_equal(np.flatnonzero(ends), [9, 19, 39])
  factors = np.array([objective.learning_rate_factor(step) for step in steps])
  expected = [1.0, 0.1, 1.0, 1.0, 0.05, 1.0, 0.05, 0.0]
  chosen = factors[[0, 9, 10, 20, 39, 40, 59, 65]]
  np.testing.assert_allclose(chosen, expected, atol=1e-6)
  constant = ProgressiveDistillation(identity, EDM(), linear_decay=False)
  assert constant.learning_rate_factor(5) == 1.0


@pytest.mark.parametrize("broken", [None, 1])
def test_a_round_ends_in_the_training_step(broken):
  """The network becomes the teacher and the optimizer starts anew.

  Also if the last step of the round is skipped.
  """

  def apply(params, x, t, y=None, key=None, train=True):
    return params["a"] * x

  objective = ProgressiveDistillation(
    apply, create_process("vp"), start_scales=4, steps_per_stage=2
  )
  optimizer = optax.adam(1e-2)
  step = make_train_step(
    objective,
    optimizer,
    lambda step: 0.0,
    jax.random.key(0),
    log_every=100,
    nonfinite="skip",
  )
  params = {"a": jnp.float32(0.5)}
  state = make_init_state(
    lambda key: params,
    objective.metric_names,
    optimizer,
    objective.target_names,
  )(jax.random.key(0))
  run = fast_compile_jit(step)
  counts, teachers, trained = [], [], []
  for index in range(3):
    image = jnp.asarray(NOISE * (np.nan if index == broken else 1.0))
    state, _ = run(state, {"image": image})
    counts.append(int(optax.tree.get(state.opt_state, "count")))
    teachers.append(float(state.targets["teacher"]["a"]))
    trained.append(float(state.params["a"]))
  assert counts == [1, 0, 1]
  assert teachers == [0.5, trained[1], trained[1]]
  assert (trained[1] == trained[0]) == (broken == 1)
  assert len({0.5, trained[0], trained[2]}) == 3


WRONG = {
  "scales": (
    lambda: ProgressiveDistillation(identity, EDM(), start_scales=6),
    "start_scales is 6; expected a power of two",
  ),
  "process": (
    lambda: ProgressiveDistillation(identity, create_process("flow_matching")),
    "the objective ProgressiveDistillation needs an EDM process .* or a",
  ),
  "discrete": (
    lambda: ProgressiveDistillation(identity, create_process("adm")),
    "start_scales=4096: the teacher takes 8192 steps; expected 1000 or fewer",
  ),
  "levels": (
    lambda: ProgressiveDistillation(identity, create_process("edm_ve")),
    "sigma_min is 0.002 .* expected an interval between 0.02 and 100",
  ),
  "distance": (
    lambda: ProgressiveDistillation(identity, EDM(), distance="lpips"),
    "features of a pre-trained VGG network",
  ),
  "w_range": (
    lambda: ProgressiveDistillation(identity, EDM(), w_range=(4.0, 1.0)),
    r"w_range is \(4.0, 1.0\); expected \(low, high\)",
  ),
  "null class": (
    lambda: GuidanceDistillation(identity, EDM()),
    "needs a network with a null class or texts, and a teacher",
  ),
  "sampler": (
    lambda: create_sampler("euler_grid", create_process("consistency")),
    "the sampler euler_grid needs an EDM process",
  ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_sentence(name):
  make, sentence = WRONG[name]
  with pytest.raises(UsageError, match=sentence) as caught:
    make()
  assert "\n" not in str(caught.value)


def test_guidance_becomes_an_input():
  """The exact student has no loss and no gradient, with and without label."""

  def noise(x, y):
    return jnp.tanh(x) + 0.3 * y[:, None, None, None]

  def apply(params, x, t, y, key=None, train=True, w=None):
    given = noise(x, y)
    if not train:
      return given
    without = noise(x, jnp.full_like(y, 9))
    scale = w[:, None, None, None]
    return without + scale * (given - without) + params["shift"]

  objective = GuidanceDistillation(
    apply, create_process("vp"), null=9, label_dropout=0.3, w_range=(1.0, 3.0)
  )
  zero = {"shift": jnp.float32(0)}

  @fast_compile_jit
  def run(shift):
    batch = {"image": NOISE, "label": np.arange(6, dtype=np.int32)}
    samples = objective.prepare(batch, jax.random.key(3))

    def loss(params):
      targets = {"teacher": zero}
      return objective.loss(params, samples, jax.random.key(0), targets)[0]

    value = jax.value_and_grad(loss)
    return samples, value(zero), value({"shift": shift})

  samples, (loss, gradient), (shifted, pull) = run(jnp.float32(0.1))
  assert loss < 1e-6 and abs(gradient["shift"]) < 1e-3
  assert shifted > 1e-3 and pull["shift"] > 1e-2
  assert set(np.asarray(samples["y"])) - {9} and 9 in samples["y"]
  assert 1 <= samples["w"].min() < samples["w"].max() <= 3


def test_rounds_keep_the_guidance_scale():
  """The network, its teacher and the sampler get it."""

  def apply(params, x, t, y=None, key=None, train=True, w=None):
    return params["a"] * w[:, None, None, None] * jnp.ones_like(x)

  process = create_process("vp")
  objective = ProgressiveDistillation(
    apply, process, start_scales=4, w_range=(1.0, 3.0)
  )
  params = {"a": jnp.float32(1)}
  samples = objective.prepare({"image": NOISE}, jax.random.key(0))
  assert samples["w"].shape == (6,)
  # A constant noise is the same in one step and in two.
  targets = {"teacher": params}
  loss, _ = objective.loss(params, samples, jax.random.key(0), targets)
  assert loss < 1e-9
  sampler = create_sampler("euler_grid", process, w=2.5)
  noise = SampleNoise.create(jax.random.key(1), np.arange(2))

  def net(x, t, w):
    return jnp.broadcast_to(w[:, None, None, None], x.shape)

  samples = sampler(net, noise, (2, 2, 1))
  trajectory = sampler.trajectory
  expected = trajectory.start * noise(INITIAL, (2, 2, 1))
  expected = expected - 2.5 * trajectory.ratio(np.zeros(1), np)
  np.testing.assert_allclose(samples, expected, rtol=1e-5)
  assert sampler.network_fields == {"scalars": ("w",)}


@pytest.mark.parametrize(
  "changes, sentence",
  [
    ({"sampler.w": None}, r"scalars is \('w',\) for DiT; expected \(\), which"),
    ({"guidance.scale": 2.0}, "takes the guidance scale as an input"),
    ({"model.scalars": ()}, r"is \(\) for DiT; expected \('w',\), which"),
  ],
)
def test_sampler_and_network_agree_on_the_guidance_scale(changes, sentence):
  config = guided_progressive_distillation_digits.get_config()
  with config.unlocked():
    for key, value in changes.items():
      section, name = key.split(".")
      config[section] = {**config[section].to_dict(), name: value}
  with pytest.raises(UsageError, match=sentence) as caught:
    build_generator(config)
  assert "\n" not in str(caught.value)


CENTRES = np.array([[0.8, 0.0], [-0.6, 0.5], [-0.2, -0.9]], np.float32)
WIDTH = 0.1


def mixture_denoiser(x, sigma):
  """The expectation of three normal modes, given x (B, 1, 1, 2)."""
  variance = WIDTH**2 + sigma**2
  away = x.reshape(-1, 1, 2) - CENTRES
  chance = jax.nn.softmax(-0.5 * (away**2).sum(-1) / variance[:, None])
  modes = CENTRES + WIDTH**2 / variance[:, None, None] * away
  return (chance[..., None] * modes).sum(1).reshape(x.shape)


def test_a_small_network_reaches_a_mixture():
  """One step ends where eight steps with the exact denoiser end."""
  process = EDM(sigma_data=0.6)
  rng, sizes, length = np.random.default_rng(0), (4, 64, 64, 2), 400
  layers = [
    (jnp.float32(rng.normal(0, 1.4 / np.sqrt(a), (a, b))), jnp.zeros(b))
    for a, b in itertools.pairwise(sizes)
  ]

  def apply(params, x, t, y=None, key=None, train=True):
    sigma = process.sigma_of(t)
    c = process.coefficients(sigma[:, None, None, None])
    state = x / c.c_in
    exact = (mixture_denoiser(state, sigma) - c.c_skip * state) / c.c_out
    h = jnp.concatenate([x.reshape(-1, 2), t[:, None], t[:, None] ** 2], 1)
    *hidden, (w, b) = params["layers"]
    for layer in hidden:
      h = jax.nn.gelu(h @ layer[0] + layer[1])
    learned = (h @ w + b).reshape(x.shape)
    # The first teacher is exact.
    return jnp.where(jax.lax.stop_gradient(params["exact"]) > 0, exact, learned)

  grid = {"sigma_max": 5.0, "sigma_min": 0.02}
  objective = ProgressiveDistillation(
    apply, process, start_scales=4, steps_per_stage=length, **grid
  )
  optimizer = optax.adam(3e-3)
  step = make_train_step(
    objective, optimizer, lambda step: 0.0, jax.random.key(0), log_every=1
  )
  params = {"layers": layers, "exact": jnp.float32(0)}
  teacher = {"layers": layers, "exact": jnp.float32(1)}
  state = make_init_state(
    lambda key: params, objective.metric_names, optimizer
  )(jax.random.key(0)).replace(targets={"teacher": teacher})
  noise = SampleNoise.create(jax.random.key(1), np.arange(300))

  def update(state, index):
    keys = jax.random.split(jax.random.fold_in(jax.random.key(5), index))
    mode = jax.random.randint(keys[0], (256,), 0, len(CENTRES))
    x0 = jnp.asarray(CENTRES)[mode]
    x0 = x0 + WIDTH * jax.random.normal(keys[1], x0.shape)
    return step(state, {"image": x0.reshape(-1, 1, 1, 2)})[0], None

  @jax.jit
  def run(state):
    state, _ = jax.lax.scan(update, state, jnp.arange(5 * length))
    return [
      create_sampler("euler_grid", process, num_steps=steps, **grid)(
        lambda x, t, network=network: apply(network, x, t), noise, (1, 1, 2)
      )
      for steps, network in ((1, state.params), (8, teacher))
    ]

  samples, ends = run(state)
  assert np.mean(np.abs(samples - ends)) < 0.08
  # Far closer than the modes are to each other.
  assert np.mean(np.abs(ends - ends[::-1])) > 0.4

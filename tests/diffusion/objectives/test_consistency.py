"""Consistency models on normal data, whose trajectories are known."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fast_compile import fast_compile_jit
from gaussian_flow import Gaussian

from configs import consistency_training_digits
from get_jax.builders.model import build_model
from get_jax.builders.objective import build_objective
from get_jax.diffusion import SampleNoise, create_process, create_sampler
from get_jax.diffusion.consistency import Consistency, Pair
from get_jax.diffusion.edm import EDM
from get_jax.diffusion.objectives.consistency import (
  WEIGHTINGS,
  ConsistencyDistillation,
  ConsistencyTraining,
)
from get_jax.diffusion.objectives.consistency_schedules import (
  doubling,
  progressive,
)
from get_jax.diffusion.objectives.continuous_consistency import (
  ContinuousConsistencyDistillation,
  ContinuousConsistencyTraining,
)
from get_jax.diffusion.objectives.denoising import Denoising
from get_jax.diffusion.objectives.distances import DISTANCES, pseudo_huber
from get_jax.diffusion.objectives.easy_consistency import EasyConsistency
from get_jax.errors import UsageError

PROCESS = Consistency()


def unused(*_, **__):
  raise AssertionError("the network is not evaluated")


DATA = Gaussian(mean=0.4, std=0.6)
IMAGE = Gaussian(mean=0.7, std=0.0)
NOISE = np.random.default_rng(0).standard_normal((6, 2, 2, 1), np.float32)
GRID = Pair(*(PROCESS.level(np.arange(6) + k, 8) for k in (0, 1)))


def exact_apply(data, process):
  """The exact consistency function, plus "shift", a parameter, times a level.

  A network of the teacher has no shift, and denoises exactly.
  """
  low = process.sigma_range[0]

  def apply(params, x, t, y, key, train=True):
    if not train:
      return data.edm_network(process.edm)(x, t)

    def f(x, sigma):
      shift = params["shift"] * jnp.sqrt(sigma)
      return data.consistency(x, sigma, low) + shift

    return data.edm_network(process, f)(x, t)

  return apply


def samples_of(data, levels):
  return {
    "x0": data.mean + data.std * NOISE[::-1],
    "noise": NOISE,
    "levels": levels,
    "y": None,
  }


def loss_and_gradient(objective, samples, shift):
  """Returns loss, metrics and gradient in the shift."""
  parameters = {"shift": jnp.float32(shift)}
  # Only the trained network is shifted.
  zero = {"shift": jnp.float32(0)}
  targets = dict.fromkeys(objective.target_names, zero)

  def loss(params):
    return objective.loss(params, samples, jax.random.key(0), targets)

  (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
    parameters
  )
  return value, metrics, gradient["shift"]


def test_a_single_image_is_learned_exactly():
  """Its trajectories are straight, so that every solver is exact."""
  apply = exact_apply(IMAGE, PROCESS)
  objectives = [
    ConsistencyTraining(apply, PROCESS, distance=distance, weighting=weighting)
    for distance, weighting in itertools.product(DISTANCES, WEIGHTINGS)
  ]
  objectives += [
    ConsistencyDistillation(apply, PROCESS, solver=solver, decay=0.9)
    for solver in ("euler", "heun")
  ]
  edm = EDM(p_mean=-1.1, p_std=2.0)
  easy = EasyConsistency(exact_apply(IMAGE, edm), edm, huber_c=0.01)
  t = jnp.float32([0.01, 0.1, 1.0, 5.0, 20.0, 60.0])
  cases = [(objective, samples_of(IMAGE, GRID)) for objective in objectives]
  cases += [
    (easy, samples_of(IMAGE, Pair(t, easy.lower_level(t, stage))))
    for stage in (0, 4)
  ]

  @fast_compile_jit
  def run():
    return [
      [loss_and_gradient(*case, shift) for shift in (0.0, 0.1)]
      for case in cases
    ]

  for (objective, _), (exact, other) in zip(cases, run(), strict=True):
    loss, metrics, gradient = exact
    assert loss < 1e-4 * other[0], objective
    assert metrics["distance"] < 1e-4 * other[1]["distance"], objective
    # Distances that are no squares have no gradient at zero, or any.
    if getattr(objective, "distance", "huber") in ("l2", "huber"):
      assert abs(gradient) < 2e-2 * abs(other[2]), objective


def test_the_exact_function_does_not_change_along_trajectories():
  """In continuous time, for all normal data."""
  apply, levels = (
    exact_apply(DATA, PROCESS),
    PROCESS.sigma_at(jnp.linspace(0.1, 0.9, 6)),
  )
  cls = ContinuousConsistencyDistillation
  objectives = [
    cls(apply, PROCESS, distance=distance, stop_gradient=False)
    for distance in ("l1", "l2", "linf")
  ]
  stopped = cls(apply, PROCESS)
  training = ContinuousConsistencyTraining(apply, PROCESS)
  samples = samples_of(DATA, levels)

  @fast_compile_jit
  def run():
    return [
      loss_and_gradient(objective, samples, 0.0)
      for objective in (*objectives, stopped, training)
    ]

  *changes, (_, metrics, gradient), (_, of_data, _) = run()
  for loss, *_ in changes:
    assert abs(loss) < 1e-4
  assert metrics["tangent"] < 1e-8 and abs(gradient) < 1e-3
  # The slope to a sample of the data is that of the flow in the mean only.
  assert of_data["tangent"] > 1e-3


@pytest.mark.parametrize("solver, order", [("euler", 2), ("heun", 3)])
def test_order_of_the_solver(solver, order):
  """The exact function changes by the error of one step of the teacher."""
  objective = ConsistencyDistillation(
    exact_apply(DATA, PROCESS), PROCESS, solver=solver, distance="l1"
  )

  @fast_compile_jit
  def run():
    losses = []
    for scales in (81, 161):
      start = PROCESS.level(scales // 2, scales)
      pair = Pair(start, PROCESS.level(scales // 2 + 1, scales))
      levels = jax.tree.map(lambda a: jnp.full(6, a), pair)
      losses.append(
        loss_and_gradient(objective, samples_of(DATA, levels), 0.0)[0]
      )
    return losses

  coarse, fine = run()
  assert abs(np.log2(coarse / fine) - order) < 0.3


@pytest.mark.parametrize("process", [PROCESS, EDM()], ids=["own", "edm"])
@pytest.mark.parametrize("steps", [1, 3])
def test_samples(process, steps):
  """Every step adds noise of a lower level to the image."""
  sampler = create_sampler("consistency", process, num_steps=steps)
  assert sampler.evaluations == steps == len(sampler.levels)
  low = process.sigma_range[0]
  net = DATA.edm_network(process, lambda x, s: DATA.consistency(x, s, low))
  table = np.random.default_rng(1).standard_normal((2 + steps, 5, 2, 2, 1))
  table = jnp.float32(table)
  got = fast_compile_jit(
    lambda: sampler(net, lambda stream, shape: table[stream], (2, 2, 1))
  )()
  x = np.float64(table[0]) * sampler.levels[0]
  for step, sigma in enumerate(sampler.levels):
    if step:
      x = x + np.sqrt(sigma**2 - low**2) * np.float64(table[2 + step])
    x = DATA.consistency(x, sigma, low)
  np.testing.assert_allclose(got, x, atol=1e-4)
  assert sampler.levels[0] == 80 and (np.diff(sampler.levels) < 0).all()


def test_samples_depend_on_the_sample_alone():
  sampler = create_sampler("consistency", PROCESS, num_steps=2)
  net = DATA.edm_network(PROCESS, lambda x, s: DATA.consistency(x, s, 0.002))
  noise = SampleNoise.create(jax.random.key(0), np.arange(6))
  run = fast_compile_jit(lambda noise: sampler(net, noise, (2, 2, 1)))
  whole, part = run(noise), run(SampleNoise(noise.keys[2:4]))
  np.testing.assert_allclose(part, whole[2:4], atol=1e-5)


def test_distribution_of_the_pairs():
  count, scales = 40_000, 11
  u = (np.arange(count) + 0.5) / count
  edges = np.asarray(PROCESS.level(np.arange(scales), scales), np.float64)
  z = (np.log(edges) + 1.1) / 2.0
  cdf = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z])
  expected = {
    "grid": np.full(scales - 1, 1 / (scales - 1)),
    "log_normal": -np.diff(cdf) / (cdf[0] - cdf[-1]),
  }
  for name, shares in expected.items():
    process = Consistency(distribution=name)
    pair = process.pair_around(process.sigma_at(u), scales)
    index = np.argmin(np.abs(np.asarray(pair.high)[:, None] - edges), axis=1)
    got = np.bincount(index, minlength=scales - 1) / count
    np.testing.assert_allclose(got, shares, atol=3e-4)
    np.testing.assert_allclose(pair.low, edges[index + 1], rtol=1e-5)


def test_schedules():
  steps = np.array([0, 1, 49_999, 50_000, 123_456, 399_999])
  stages = doubling(10, 1280, 400_000)
  got = stages.intervals[np.asarray(stages.stage(steps))]
  length = 400_000 // 8
  expected = np.minimum(10 * 2 ** (steps // length), 1280)
  np.testing.assert_array_equal(got, expected)
  # An end that is no power of two times the start is reached too.
  assert doubling(10, 30, 300).intervals.tolist() == [10, 20, 30]
  # One stage: a constant number, with the decay of the first step.
  constant = ConsistencyTraining(
    unused, PROCESS, schedule="doubling", start_scales=7, end_scales=7
  )
  np.testing.assert_array_equal(constant.num_scales(steps), 8)
  np.testing.assert_allclose(constant.target_decay(steps), 0.9, rtol=1e-6)
  stages = progressive(2, 150, 800_000)
  assert (np.diff(stages.intervals) == 1).all()
  assert stages.intervals[-1] == 150 and stages.first_steps[0] == 0


def test_targets():
  old, new = {"w": jnp.ones(2)}, {"w": 3 * jnp.ones(2)}
  average = ConsistencyDistillation(unused, PROCESS, decay=0.75)
  assert average.target_names == ("teacher", "target")
  targets = average.update_targets({"teacher": old, "target": old}, new, 0)
  np.testing.assert_allclose(targets["target"]["w"], 1.5)
  np.testing.assert_array_equal(targets["teacher"]["w"], 1)
  assert ConsistencyDistillation(unused, PROCESS).target_names == ("teacher",)
  training = ConsistencyTraining(unused, PROCESS, start_decay=0.0)
  assert training.target_names == ()
  assert training.update_targets({}, new, 0) == {}


def test_the_norm_has_no_gradient_at_zero():
  zero = jnp.zeros((2, 3))
  gradient = jax.grad(lambda d: pseudo_huber(d, 0.0).sum())(zero)
  np.testing.assert_array_equal(gradient, 0)


def test_dropout():
  """Network and target drop the same units, the teacher none."""
  keys = []

  def apply(params, x, t, y, key, train=True):
    keys.append((train, key))
    return jnp.zeros_like(x)

  objective = ConsistencyDistillation(apply, PROCESS, decay=0.9)
  samples = samples_of(DATA, GRID)
  objective.loss({}, samples, jax.random.key(3), {"teacher": {}, "target": {}})
  trained = [key for train, key in keys if train]
  assert len(keys) == 4 and len(trained) == 2
  np.testing.assert_array_equal(*map(jax.random.key_data, trained))


CENTRES = np.float32([[0.8, 0.0], [-0.4, 0.7], [-0.4, -0.7]])
WIDTH = 0.15


def mixture_denoiser(x, sigma):
  """The expectation of three normal modes, given x."""
  variance = (WIDTH**2 + sigma**2)[:, None]
  away = x.reshape(-1, 1, 2) - CENTRES
  chance = jax.nn.softmax(-0.5 * (away**2).sum(-1) / variance)
  modes = CENTRES + WIDTH**2 / variance[..., None] * away
  return (chance[..., None] * modes).sum(1).reshape(x.shape)


def test_a_small_network_reaches_a_mixture():
  """It maps noise to where the exact trajectories of the mixture end."""
  process = Consistency(sigma_data=0.6, sigma_max=5.0)
  rng, sizes, steps = np.random.default_rng(0), (4, 96, 96, 2), 1_500
  start = [
    (jnp.float32(rng.normal(0, 1.4 / np.sqrt(a), (a, b))), jnp.zeros(b))
    for a, b in itertools.pairwise(sizes)
  ]

  def apply(params, x, t, y=None, key=None, train=True):
    if not train:
      net = Gaussian().edm_network(process.edm, mixture_denoiser_of)
      return net(x, t)
    h = jnp.concatenate([x.reshape(-1, 2), t[:, None], t[:, None] ** 2], 1)
    *hidden, (w, b) = params
    for layer in hidden:
      h = jax.nn.gelu(h @ layer[0] + layer[1])
    return (h @ w + b).reshape(x.shape)

  def mixture_denoiser_of(x, sigma):
    return mixture_denoiser(x, sigma.reshape(-1))

  objective = ConsistencyDistillation(apply, process, scales=18)
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

  one_step = create_sampler("consistency", process)
  exact = create_sampler("heun", process.edm, num_steps=40, sigma_max=5.0)
  noise = SampleNoise.create(jax.random.key(1), np.arange(300))

  @jax.jit
  def run(start):
    carry = start, optimizer.init(start)
    (params, _), _ = jax.lax.scan(update, carry, jnp.arange(steps))
    samples = one_step(lambda x, t: apply(params, x, t), noise, (1, 1, 2))
    ends = exact(lambda x, t: apply(None, x, t, train=False), noise, (1, 1, 2))
    return samples, ends

  samples, ends = run(start)
  assert np.mean(np.abs(samples - ends)) < 0.08
  # Far closer than the modes are to each other.
  assert np.mean(np.abs(ends - ends[::-1])) > 0.4


def digits_config(**changes):
  config = consistency_training_digits.get_config()
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize("kernel", ["cudnn", "splash"])
def test_attention_kernels_without_forward_mode_are_refused(kernel):
  config = digits_config(
    **{"task": "continuous_consistency_training", "model.attention": kernel}
  )
  del config.consistency_training
  with pytest.raises(
    UsageError, match=f"attention is '{kernel}', which has no"
  ):
    build_objective(config, build_model(config))


def ct(**settings):
  return ConsistencyTraining(unused, PROCESS, **settings)


@pytest.mark.parametrize(
  "make, sentence",
  [
    (lambda: ct(distance="lpips"), "features of a pre-trained VGG network"),
    (lambda: ct(distance="l3"), "distance is 'l3': "),
    (lambda: ct(weighting="snr2"), "weighting is 'snr2': did you mean 'snr'"),
    (lambda: ct(schedule="linear"), "schedule is 'linear': expected one of"),
    (
      lambda: ct(start_scales=10, end_scales=5),
      "end_scales is 5; expected at least start_scales=10",
    ),
    (
      lambda: ConsistencyDistillation(unused, PROCESS, solver="rk4"),
      "solver is 'rk4'",
    ),
    (
      lambda: ContinuousConsistencyTraining(unused, PROCESS, distance="l1"),
      "distance is 'l1'; expected 'l2', which stop_gradient=True needs",
    ),
    (
      lambda: ContinuousConsistencyTraining(unused, PROCESS, distance="huber"),
      "distance is 'huber': expected one of",
    ),
    (
      lambda: EasyConsistency(unused, EDM(), mapping="linear"),
      "mapping is 'linear'",
    ),
    (
      lambda: EasyConsistency(unused, PROCESS),
      "EasyConsistency needs the process edm, and not the process consistency",
    ),
    (
      lambda: ConsistencyTraining(unused, EDM()),
      "needs the process consistency, and not the process edm",
    ),
    (
      lambda: create_process("consistency", sigma_min=2.0, sigma_max=1.0),
      "expected 0 < sigma_min < sigma_max",
    ),
    (
      lambda: create_process("consistency", distribution="normal"),
      "distribution is 'normal'",
    ),
    (
      lambda: create_sampler("heun", PROCESS),
      "Heun needs an EDM process .*, and not the process consistency",
    ),
    (
      lambda: create_sampler("consistency", create_process("vp")),
      "ConsistencySampler needs a process with noise levels sigma, and not",
    ),
    (
      lambda: create_sampler("consistency", PROCESS, num_steps=2, sigmas=(90,)),
      "sigmas is .*; expected num_steps - 1 = 1 noise levels that decrease",
    ),
    (
      lambda: create_sampler("consistency", PROCESS, sigma_max=100.0),
      "sigma_max is 100; the process supports 80",
    ),
    (
      lambda: Denoising(lambda *a: a[1], PROCESS)(
        None, {"image": NOISE}, jax.random.key(0)
      ),
      "the process consistency has no denoising loss; expected a task such as",
    ),
  ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_wrong_settings_are_one_sentence(make, sentence):
  with pytest.raises(UsageError, match=sentence) as caught:
    make()
  assert "\n" not in str(caught.value)

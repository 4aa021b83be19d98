"""MeanFlow and improved MeanFlow: exact solutions, training, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fast_compile import fast_compile_jit
from gaussian_flow import Gaussian

from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.builders.objective import build_objective
from get_jax.diffusion import create_process, create_sampler
from get_jax.diffusion.linear_path import LinearPath
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objectives.improved_mean_flow import (
  SCALARS,
  ImprovedMeanFlow,
)
from get_jax.diffusion.objectives.mean_flow import MeanFlow
from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

KEY = jax.random.key(0)
OBJECTIVES = {"mean_flow": MeanFlow, "improved_mean_flow": ImprovedMeanFlow}


def expand(t):
  return t.reshape(-1, 1, 1, 1)


def exact(task, data):
  """Returns the exact network, with a shift as its parameter."""

  def apply(shift, z, t, y, key, h, **conditions):
    assert set(conditions) <= set(SCALARS)
    t, h = expand(t), expand(h)
    u = data.average_velocity(z, t, t - h) + shift
    if task == "mean_flow":
      return u
    return jnp.concatenate([u, data.linear_velocity(z, t) + shift], axis=-1)

  return apply


@pytest.mark.parametrize("task", OBJECTIVES)
def test_the_exact_solution_is_a_fixed_point(task):
  """Data and noise are their expectations given z, so that v is the flow."""
  data = Gaussian(mean=0.3, std=0.5)
  settings = dict(omega=1.5, kappa=0.2) if task == "mean_flow" else {}
  objective = OBJECTIVES[task](
    exact(task, data),
    LinearPath(),
    null=3,
    label_dropout=0.2,
    weight_power=0.0,
    **settings,
  )
  batch = {
    "image": data.sample(KEY, (16, 2, 2, 1)),
    "label": jnp.zeros(16, jnp.int32),
  }

  @fast_compile_jit
  def run(shift):
    samples = objective.prepare(batch, KEY)
    t = expand(samples["levels"].t)
    z = (1 - t) * samples["x0"] + t * samples["noise"]
    samples["x0"] = data.denoised(z, 1 - t, t)
    samples["noise"] = data.noise(z, 1 - t, t)
    value_and_grad = jax.value_and_grad(objective.loss, has_aux=True)
    (loss, _), grad = value_and_grad(shift, samples, KEY, {})
    return loss, grad

  loss, grad = run(0.0)
  wrong_loss, wrong_grad = run(0.1)
  assert loss < 1e-10 and abs(grad) < 1e-5
  assert wrong_loss > 1e-3 and wrong_grad > 1e-3


# Two modes with a standard deviation of 0.3.
MODES = jnp.array([[-1.0, 0.0], [1.0, 0.5]])


def mixture(key, count):
  labels = jax.random.randint(key, (count,), 0, 2)
  noise = jax.random.normal(jax.random.fold_in(key, 0), (count, 2))
  return MODES[labels] + 0.3 * noise


def energy_distance(a, b):
  """Returns 2 E|a - b| - E|a - a'| - E|b - b'|, 0 for equal distributions."""

  def mean_distance(a, b):
    return np.linalg.norm(a[:, None] - b, axis=-1).mean()

  return 2 * mean_distance(a, b) - mean_distance(a, a) - mean_distance(b, b)


def mlp(task):
  """Returns initialisation and application of a small network in the plane."""
  channels = 2 if task == "mean_flow" else 4

  def init(key):
    sizes = [2 + 16, 96, 96, channels]
    keys = jax.random.split(key, len(sizes) - 1)
    return [
      (jax.random.normal(k, (m, n)) / np.sqrt(m), jnp.zeros(n))
      for k, m, n in zip(keys, sizes, sizes[1:], strict=False)
    ]

  def apply(params, z, t, y, key, h, **_):
    frequencies = jnp.array([1.0, 2.0, 4.0, 8.0])
    angles = jnp.concatenate([a[:, None] * frequencies for a in (t, h)], -1)
    x = jnp.concatenate([z[:, 0, 0], jnp.sin(angles), jnp.cos(angles)], -1)
    for i, (kernel, bias) in enumerate(params):
      x = jax.nn.silu(x) @ kernel if i else x @ kernel
      x = x + bias
    return x[:, None, None]

  return init, apply


@pytest.mark.parametrize("task", OBJECTIVES)
def test_one_step_reaches_a_mixture(task):
  init, apply = mlp(task)
  path = LinearPath("uniform", equal_fraction=0.5)
  # In two dimensions, the weights of samples would move the solution.
  objective = OBJECTIVES[task](apply, path, null=0, weight_power=0.0)
  optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, 1_000))
  sampler = create_sampler(task, path)

  @jax.jit
  def run():
    def step(carry, i):
      params, state = carry
      key = jax.random.fold_in(KEY, i)
      batch = {"image": mixture(key, 512)[:, None, None]}
      samples = objective.prepare(batch, jax.random.fold_in(key, 7))
      loss = functools.partial(objective.loss, samples=samples, key=key)
      grads, _ = jax.grad(loss, has_aux=True)(params, targets={})
      updates, state = optimizer.update(grads, state)
      return (optax.apply_updates(params, updates), state), None

    params = init(KEY)
    carry = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, carry, jnp.arange(1_000))

    def net(x, t, **scalars):
      return apply(params, x, t, None, None, **scalars)[..., :2]

    noise = SampleNoise.create(KEY, jnp.arange(1_000))
    return sampler(net, noise, (1, 1, 2))[:, 0, 0]

  data = mixture(jax.random.key(1), 1_000)
  assert energy_distance(np.asarray(run()), data) < 0.04
  prior = jax.random.normal(KEY, (1_000, 2))
  assert energy_distance(prior, data) > 0.14


def test_levels():
  path = LinearPath(equal_fraction=0.25)
  t, r = path.sample_levels(KEY, 40_000)
  np.testing.assert_array_equal(t[:10_000], r[:10_000])
  assert (r[10_000:] < t[10_000:]).all() and (r > 0).all() and (t < 1).all()
  # The two times of a pair are those of two independent samples.
  logits = np.concatenate([np.log(a / (1 - a))[10_000:] for a in (t, r)])
  assert abs(logits.mean() - -0.4) < 0.02 and abs(logits.std() - 1) < 0.02
  t, r = LinearPath("uniform", equal_fraction=0).sample_levels(KEY, 40_000)
  both = np.sort(np.concatenate([t, r]))
  np.testing.assert_allclose(both, np.linspace(0, 1, 80_000), atol=0.02)


def test_the_first_labels_are_dropped():
  objective = MeanFlow(
    lambda *_, **__: None, LinearPath(), null=9, label_dropout=0.25
  )
  batch = {"image": jnp.zeros((64, 1, 1, 1)), "label": jnp.arange(64) % 4}
  counts = []
  for i in range(20):
    samples = objective.prepare(batch, jax.random.key(i))
    dropped = np.asarray(samples["dropped"])
    counts.append(dropped.sum())
    np.testing.assert_array_equal(dropped, np.arange(64) < counts[-1])
    np.testing.assert_array_equal(samples["y"], batch["label"])
  assert 12 < np.mean(counts) < 20 and len(set(counts)) > 3


def test_conditions_of_improved_mean_flow():
  objective = ImprovedMeanFlow(
    lambda *_, **__: None, LinearPath(equal_fraction=0.5), null=9
  )
  samples = objective.prepare({"image": jnp.zeros((8_000, 1, 1, 1))}, KEY)
  w, low, high = (np.asarray(samples[name]) for name in SCALARS[1:])
  assert (low[:4_000] == 0).all() and (high[:4_000] == 1).all()
  for value, start in ((low[4_000:], 0.0), (high[4_000:], 0.5)):
    expected = np.linspace(start, start + 0.5, 4_000)
    np.testing.assert_allclose(np.sort(value), expected, atol=0.02)
  # With w_power = 1, ln(w) is uniform.
  expected = np.linspace(0, np.log(8), 8_000)
  np.testing.assert_allclose(np.sort(np.log(w)), expected, atol=0.06)


TINY = dict(
  input_size=4,
  in_channels=1,
  patch_size=2,
  hidden_size=16,
  num_heads=2,
  num_classes=3,
)
NETWORKS = {
  "mean_flow": ("MF", dict(TINY, depth=2)),
  "improved_mean_flow": ("iMF", dict(TINY, depth=2, head_depth=1)),
}


@functools.cache
def loss_and_gradient(task, **fields):
  """Loss and gradient of a small transformer with random parameters."""
  name, tiny = NETWORKS[task]
  model = create_model(name, **tiny, **fields)

  def apply(params, x, t, y, key, **scalars):
    return model.apply({"params": params}, x, t, y, train=True, **scalars)

  process = LinearPath(equal_fraction=0.25)
  settings = dict(omega=2.0) if task == "mean_flow" else {}
  objective = OBJECTIVES[task](apply, process, null=3, **settings)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda a: 0.2 * rng.standard_normal(a.shape, np.float32),
    abstract_params(model),
  )
  batch = {
    "image": rng.standard_normal((8, 4, 4, 1), np.float32),
    "label": np.arange(8) % 3,
  }

  @fast_compile_jit
  def run(params):
    samples = objective.prepare(batch, KEY)
    return jax.value_and_grad(objective.loss, has_aux=True)(
      params, samples, KEY, {}
    )

  (loss, metrics), grads = run(params)
  return metrics | {"loss": loss}, grads


def difference(a, b):
  """Relative difference of two trees."""
  pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
  error = sum(np.sum(np.square(x - y)) for x, y in pairs)
  return np.sqrt(error / sum(np.sum(np.square(y)) for _, y in pairs))


@pytest.mark.parametrize(
  ("task", "fields", "limit"),
  [
    ("mean_flow", dict(scan=True, remat="full"), 1e-5),
    ("improved_mean_flow", dict(scan=True, remat="dots"), 1e-5),
    ("improved_mean_flow", dict(dtype="bfloat16"), 0.1),
  ],
  ids=str,
)
def test_compute_options_give_the_same_derivatives(task, fields, limit):
  expected, expected_grads = loss_and_gradient(task)
  got, grads = loss_and_gradient(task, **fields)
  for name, value in expected.items():
    np.testing.assert_allclose(got[name], value, rtol=limit)
  assert difference(grads, expected_grads) < limit


def config_of(task, **model):
  """Returns a config of a small network."""
  from configs import improved_mean_flow_digits, mean_flow_digits

  module = {
    "mean_flow": mean_flow_digits,
    "improved_mean_flow": improved_mean_flow_digits,
  }[task]
  config = module.get_config("smoke")
  if task == "mean_flow":  # without guidance
    config.mean_flow, config.label_dropout = {}, 0.0
    config.model.null_class = False
  config.model.update(model)
  return config


@pytest.mark.parametrize("kernel", ["cudnn", "splash"])
def test_attention_kernels_without_forward_mode_are_refused(kernel):
  config = config_of("mean_flow", attention=kernel)
  with pytest.raises(UsageError, match=f"'{kernel}', which has no forward"):
    build_objective(config, build_model(config))


def test_automatic_attention_is_that_with_forward_mode(monkeypatch):
  """On a GPU, "auto" would select cuDNN."""
  from get_jax.nn import attention

  config = config_of("mean_flow", dtype="bfloat16")
  model = build_model(config)
  params = abstract_params(model)
  objective = build_objective(config, model)
  shape = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
  batch = {"image": shape, "label": jax.ShapeDtypeStruct((2,), jnp.int32)}
  monkeypatch.setattr(attention, "target_platform", lambda: "gpu")
  program = jax.make_jaxpr(objective)(params, batch, KEY)
  assert "cudnn" not in str(program)


@pytest.mark.parametrize(
  ("task", "model", "message"),
  [
    ("mean_flow", dict(scalars=()), r"model.scalars is \(\) .*\('h',\)"),
    ("mean_flow", dict(learn_sigma=True), "predicts 2 channels for 1"),
    ("improved_mean_flow", dict(v_head=False), "model.v_head is False"),
    ("improved_mean_flow", dict(null_class=False), "no null class"),
  ],
)
def test_unsuitable_networks(task, model, message):
  config = config_of(task, **model)
  config.label_dropout = 0.0
  network = build_model(config)
  with pytest.raises(UsageError, match=message):
    objective = build_objective(config, network)
    shape = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    batch = {"image": shape, "label": jax.ShapeDtypeStruct((2,), jnp.int32)}
    jax.eval_shape(objective, abstract_params(network), batch, KEY)


def test_a_network_without_the_scalar():
  config = config_of("mean_flow")
  config.model = dict(name="ViT", **{k: TINY[k] for k in ("hidden_size",)})
  with pytest.raises(UsageError, match="ViT has no scalars"):
    build_objective(config, build_model(config))


def test_guidance_without_a_null_class():
  config = config_of("mean_flow")
  config.mean_flow = dict(omega=2.0)
  with pytest.raises(UsageError, match="mean_flow.omega is 2.0 .*null class"):
    build_objective(config, build_model(config))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"sampler": dict(name="heun")}, "an EDM process"),
    ({"process": dict(name="edm")}, "needs the process mean_flow"),
    ({"guidance": dict(scale=2.0)}, "takes the guidance scale as an input"),
    ({"model.scalars": ("h",)}, "model.scalars is"),
    (
      {"sampler": dict(name="improved_mean_flow", w=0.5)},
      "w is 0.5; expected 1 or more",
    ),
  ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_unsuitable_sampling(changes, message):
  config = config_of("improved_mean_flow")
  config.update_from_flattened_dict(changes)
  with pytest.raises(UsageError, match=message):
    build_generator(config)


@pytest.mark.parametrize(
  "settings",
  [
    dict(times=(1.0, 0.5, 0.0)),
    dict(times=(1.0, 0.1)),
    dict(num_steps=2, times=(1.0, 1.0, 0.0)),
  ],
)
def test_times_of_another_number_or_order(settings):
  with pytest.raises(UsageError, match="that decrease from 1 to 0"):
    create_sampler("mean_flow", LinearPath(), **settings)


def test_the_process_has_no_denoising_loss():
  process = create_process("mean_flow")
  x = jnp.zeros((1, 1, 1, 1))
  with pytest.raises(UsageError, match="has no denoising loss"):
    process.loss(lambda x, t: x, x, KEY)


@pytest.mark.parametrize("steps", [1, 3])
def test_samples_of_the_exact_solution(steps):
  data = Gaussian(mean=0.3, std=0.5)
  noise = SampleNoise.create(KEY, jnp.arange(4))

  def net(z, t, h):
    return data.average_velocity(z, expand(t), expand(t - h))

  sampler = create_sampler("mean_flow", LinearPath(), num_steps=steps)
  assert sampler.evaluations == steps
  samples, states = sampler(net, noise, (2, 2, 1), trajectory=True)
  np.testing.assert_allclose(
    samples, data.linear_flow(states[0], 1.0), rtol=1e-5, atol=1e-6
  )

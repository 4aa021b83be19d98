"""Results do not depend on the dtype of times and images, nor on JAX's modes.

All inputs are integers that bfloat16 represents exactly, so every dtype has the
same answer.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.diffusion import Guidance, create_process, create_sampler
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objectives.denoising import Denoising
from get_jax.diffusion.schedules import Cosine, Interpolated, Linear
from get_jax.diffusion.warp import warp

DTYPES = ("int32", "bfloat16", "float16", "float32", "float64")
T = np.array([1, 2, 100, 250, 800, 992])
INDEX = np.array([0, 3, 999])
IMAGES = np.random.default_rng(0).integers(-2, 3, (3, 4, 4, 2))
NOISE = np.random.default_rng(1).integers(-2, 3, (3, 4, 4, 2))


@contextlib.contextmanager
def given_as(dtype):
  """Converts numbers to a dtype; float64 needs the mode of 64 bits."""
  context = jax.enable_x64 if dtype == "float64" else contextlib.nullcontext
  with context(True):
    yield lambda values: jnp.asarray(values, dtype)


def vp_sigma(t):
  return np.sqrt(np.expm1(0.5 * 19.9 * t**2 + 0.1 * t))


def cosine_sigma(t, s=0.008):
  angle = (t + s) / (1 + s) * np.pi / 2
  alpha = np.cos(angle) / np.cos(s / (1 + s) * np.pi / 2)
  return np.sqrt(1 - alpha**2) / alpha


ADM = create_process("adm")
IDDPM = create_process("edm_iddpm")
# sigma_of in float64, as a function of the network's time.
SIGMAS = {
  create_process("vp"): lambda t: vp_sigma(t / 999),
  create_process("vp", beta_schedule="cosine"): lambda t: cosine_sigma(t / 999),
  ADM: lambda t: np.sqrt(1 / ADM.full_alpha_bar[t] - 1),
  create_process("edm", time_scale=100.0): lambda t: np.exp(t / 25),
  create_process("consistency", time_scale=100.0): lambda t: np.exp(t / 25),
  create_process("edm_vp"): lambda t: vp_sigma(t / 999),
  create_process("edm_ve", time_scale=100.0): lambda t: 2 * np.exp(t / 100),
  IDDPM: lambda t: IDDPM.levels[999 - t],
  create_process("flow_matching", time_scale=1000.0): lambda t: 1000 / t - 1,
  create_process("flow_matching", path="gvp", time_scale=1000.0): lambda t: (
    1 / np.tan(np.pi * t / 2000)
  ),
  create_process("flow_matching", path="vp", time_scale=1000.0): lambda t: (
    vp_sigma(1 - t / 1000)
  ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("process", SIGMAS, ids=lambda p: type(p).__name__)
def test_sigma_of(process, dtype):
  t = (
    T[T <= 800]
    if type(process).__name__ in ("EDM", "EDMVE", "Consistency")
    else T
  )
  with given_as(dtype) as given:
    sigma = process.sigma_of(given(t))
  assert sigma.dtype == jnp.float32
  np.testing.assert_allclose(sigma, SIGMAS[process](t), rtol=3e-6)


SIGMA = np.array([1, 2, 64])
# c_skip, 1 - c_skip, c_out, c_in, c_noise and the loss weight in float64.
COEFFICIENTS = {
  "edm": lambda s: (
    0.25 / (s**2 + 0.25),
    s**2 / (s**2 + 0.25),
    0.5 * s / np.sqrt(s**2 + 0.25),
    1 / np.sqrt(s**2 + 0.25),
    np.log(s) / 4,
    (s**2 + 0.25) / (0.5 * s) ** 2,
  ),
  "edm_vp": lambda s: (
    np.ones(3),
    np.zeros(3),
    -s,
    1 / np.sqrt(s**2 + 1),
    999 * (np.sqrt(0.01 + 39.8 * np.log1p(s**2)) - 0.1) / 19.9,
    1 / s**2,
  ),
  "edm_ve": lambda s: (
    np.ones(3),
    np.zeros(3),
    s,
    np.ones(3),
    np.log(s / 2),
    1 / s**2,
  ),
  "edm_iddpm": lambda s: (
    np.ones(3),
    np.zeros(3),
    -s,
    1 / np.sqrt(s**2 + 1),
    999 - np.argmin(np.abs(IDDPM.levels[:, None] - s[None]), axis=0),
    1 / s**2,
  ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COEFFICIENTS)
def test_coefficients_and_weight(name, dtype):
  process = create_process(name)
  with given_as(dtype) as given:
    found = *process.coefficients(given(SIGMA)), process.weight(given(SIGMA))
  expected = COEFFICIENTS[name](SIGMA.astype(np.float64))
  for got, want in zip(found, expected, strict=True):
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_guidance_weight(dtype):
  t, sigma_of = np.array([0, 1, 512, 992]), create_process("vp").sigma_of
  cosine = (1 - np.cos(np.pi * (1 - t / 1000) ** 4)) / 2
  inside = (vp_sigma(t / 999) >= 0.5) & (vp_sigma(t / 999) <= 20)
  cases = [
    (Guidance(scale=1.5), np.full(4, 1.5)),
    (Guidance(scale=2, convention="u-vit"), np.full(4, 3.0)),
    (Guidance(scale=4.4, schedule="power_cosine"), 1 + 3.4 * cosine),
    (Guidance(scale=1.5, interval=(0.5, 20)), np.where(inside, 1.5, 1)),
  ]
  for guidance, expected in cases:
    with given_as(dtype) as given:
      weight = guidance.weight(given(t), sigma_of)
    assert weight.dtype == jnp.float32
    np.testing.assert_allclose(weight, expected, rtol=2e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_guided_network(dtype):
  """Also outputs of the network are combined in float32."""
  y, null = np.array([0, 1, 2]), 3

  def net(x, t, y):
    del t
    return x * (y + 1).astype(x.dtype)[:, None, None, None]

  with given_as(dtype) as given:
    guided = Guidance(scale=1.375)(net, jnp.asarray(y, jnp.int32), null)
    found = guided(given(IMAGES), given(T[:3]))
  cond, uncond = IMAGES * (y + 1)[:, None, None, None], IMAGES * (null + 1)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, uncond + 1.375 * (cond - uncond))


SCHEDULES = {
  "linear": Linear(),
  "cosine": Cosine(),
  "interpolated": Interpolated(tuple(ADM.full_alpha_bar.tolist())),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name, dtype):
  schedule, t, lam = SCHEDULES[name], np.array([1, 2]) / 2, np.array([-2, 1, 2])
  t = t[:1] if name == "cosine" else t
  if dtype == "int32":
    t = np.array([0]) if name == "cosine" else np.array([1])
  with given_as(dtype) as given:
    found = [
      getattr(schedule, function)(given(x), jnp)
      for function, x in (("alpha", t), ("log_alpha", t), ("time", lam))
    ]
  expected = schedule.alpha(t), schedule.log_alpha(t), schedule.time(lam)
  for got, want in zip(found, expected, strict=True):
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=3e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_discrete_process(dtype):
  """q_sample, the posterior and the prediction against float64."""
  process = create_process("adm", variance="fixed_small")
  with given_as(dtype) as given:
    x0, noise = given(IMAGES), given(NOISE)
    noised = process.q_sample(x0, jnp.asarray(INDEX), noise)
    mean, _ = process.q_posterior(x0, noise, jnp.asarray(INDEX))
    data = process.predict_x0(noise, x0, jnp.asarray(INDEX))
  tables = [a[INDEX][:, None, None, None] for a in process.tables]
  (alpha_bar, by_x0, by_xt) = tables[2], tables[7], tables[8]
  expected = (
    np.sqrt(alpha_bar) * IMAGES + np.sqrt(1 - alpha_bar) * NOISE,
    by_x0 * IMAGES + by_xt * NOISE,
    (IMAGES - np.sqrt(1 - alpha_bar) * NOISE) / np.sqrt(alpha_bar),
  )
  for got, want in zip((noised, mean, data), expected, strict=True):
    assert got.dtype == jnp.float32
    # Differences of large numbers have their rounding errors.
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_continuous_process(dtype):
  process, t = create_process("vp"), np.array([1, 1, 1])
  with given_as(dtype) as given:
    x, noise = given(IMAGES), given(NOISE)
    data = process.x0_from_noise(x, given(t), noise)
    back = process.noise_from_x0(x, given(t), noise)
    predicted = process.predictor(lambda x, t: x)(x, given(t))
  alpha = np.exp(-0.5 * (0.1 + 0.5 * 19.9))
  sigma = np.sqrt(1 - alpha**2)
  for got, want in (
    (data, (IMAGES - sigma * NOISE) / alpha),
    (back, (IMAGES - alpha * NOISE) / sigma),
    (predicted, IMAGES),
  ):
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_denoiser_and_predictor_of_edm(dtype):
  """With a noise level per sample, and a network that returns its input."""
  process = create_process("edm")
  with given_as(dtype) as given:
    x, sigma = given(IMAGES), given(SIGMA)
    found = [
      make(lambda x, t: x)(x, sigma)
      for make in (process.denoiser, process.predictor)
    ]
  s = SIGMA[:, None, None, None].astype(np.float64)
  denoised = IMAGES * (0.25 + 0.5 * s) / (s**2 + 0.25)
  expected = denoised, (IMAGES - denoised) / s
  for got, want in zip(found, expected, strict=True):
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)


def net(x, t):
  """A network of a process without a learned variance."""
  t = jnp.asarray(t, jnp.float32)[:, None, None, None]
  return jnp.tanh(x) + 1e-3 * t * x


PROCESSES = (
  "vp", "adm", "stable_diffusion", "edm", "edm_vp", "edm_ve", "edm_iddpm",
  "flow_matching",
)  # fmt: skip


@pytest.mark.parametrize("name", PROCESSES)
def test_losses_do_not_depend_on_the_dtype(name):
  fields = {"variance": "fixed_small"} if name == "adm" else {}
  process = create_process(name, **fields)
  results = {}
  for dtype in DTYPES:
    with given_as(dtype) as given:
      objective = Denoising(lambda params, x, t, y, key: net(x, t), process)
      batch = {"image": given(IMAGES)}
      results[dtype] = (
        objective(None, batch, jax.random.key(3))[0],
        process.loss_at(
          net,
          given(IMAGES),
          process.sample_levels(jax.random.key(4), 3),
          given(NOISE),
        )[0],
      )
  for loss in jax.tree.leaves(results):
    assert loss.dtype == jnp.float32
  for dtype in DTYPES:
    jax.tree.map(
      np.testing.assert_array_equal, results[dtype], results["float32"]
    )


@pytest.mark.parametrize(
  "name, process, settings",
  [
    ("ddpm", "adm", {"num_steps": 4}),
    ("ddim", "adm", {"num_steps": 4, "eta": 0.5}),
    ("heun", "edm", {"num_steps": 4, "s_churn": 2.0}),
    ("dpm_solver", "vp", {"num_steps": 4}),
    ("dpm_solver++", "stable_diffusion", {"num_steps": 4}),
    ("dpm_solver_adaptive", "vp", {}),
    ("euler_maruyama", "vp", {"num_steps": 4}),
    ("probability_flow", "vp", {"num_steps": 4}),
    ("consistency", "consistency", {"num_steps": 3}),
    ("euler_grid", "vp", {"num_steps": 4}),
    ("flow_ode", "flow_matching", {"num_steps": 4, "solver": "heun"}),
    ("flow_sde", "flow_matching", {"num_steps": 4, "last_step": "none"}),
  ],
)
def test_samples_are_the_same_with_64_bits(name, process, settings):
  """Networks may return any dtype; random numbers stay those of 32 bits."""
  fields = {"variance": "fixed_small"} if process == "adm" else {}
  sampler = create_sampler(name, create_process(process, **fields), **settings)
  results = []
  for bits in (False, True):
    with jax.enable_x64(bits):
      dtype = jnp.float64 if bits else jnp.float32
      noise = SampleNoise.create(jax.random.key(0), np.arange(2))
      run = jax.jit(
        lambda noise, dtype=dtype: sampler(
          lambda x, t: 0.5 * x.astype(dtype), noise, (2, 2, 1)
        )
      )
      results.append(run(noise))
  assert results[1].dtype == jnp.float32
  np.testing.assert_allclose(results[1], results[0], rtol=1e-5)


def test_augmentation_and_warp_do_not_depend_on_the_dtype():
  names = ("rotate_int", "translate_int", "brightness", "contrast", "lumaflip",
           "hue", "saturation")  # fmt: skip
  augmentation = Augmentation(p=0.7, **dict.fromkeys(names, 1.0))
  images = np.random.default_rng(0).integers(-1, 2, (4, 8, 8, 3))
  angle = np.pi / 6
  turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]
  inverse = np.tile(np.float32([*turn, [0, 0, 1]]), (4, 1, 1))
  results = {}
  for dtype in DTYPES:
    with given_as(dtype) as given:
      results[dtype] = (
        augmentation(jax.random.key(0), given(images)),
        warp(given(images), jnp.asarray(inverse)),
      )
  for dtype in DTYPES:
    for got, want in zip(
      jax.tree.leaves(results[dtype]),
      jax.tree.leaves(results["float32"]),
      strict=True,
    ):
      assert got.dtype == jnp.float32
      np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", PROCESSES)
def test_nothing_is_promoted_by_accident(name):
  """Under JAX's strict rules; shapes suffice to find a violation."""
  process = create_process(name)

  def loss(x0, key):
    def learned(x, t):
      out = net(x, t)
      return jnp.concatenate([out, out], axis=-1) if name == "adm" else out

    return process.loss(learned, x0, key)[0].sum()

  x0 = jax.ShapeDtypeStruct((3, 4, 4, 2), jnp.float32)
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    gradient = jax.eval_shape(jax.grad(loss), x0, jax.random.key(0))
  assert gradient.dtype == jnp.float32

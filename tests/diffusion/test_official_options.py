"""Settings that papers and official codes vary."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.diffusion import create_process, create_sampler
from get_jax.diffusion.augmentation import Augmentation
from get_jax.errors import UsageError


def test_ends_of_the_schedule_of_stable_diffusion():
  process = create_process(
    "stable_diffusion", linear_start=0.0015, linear_end=0.0195
  )
  betas = np.linspace(math.sqrt(0.0015), math.sqrt(0.0195), 1000) ** 2
  np.testing.assert_allclose(process.tables.betas, betas, rtol=1e-10)
  default = create_process("stable_diffusion").tables.betas
  np.testing.assert_allclose(default[[0, -1]], [0.00085, 0.012], rtol=1e-12)


def test_ends_of_the_linear_schedule():
  fields = dict(num_timesteps=500, linear_start=2e-4, linear_end=0.01)
  betas = create_process("adm", **fields).tables.betas
  np.testing.assert_allclose(betas, np.linspace(4e-4, 0.02, 500), rtol=1e-10)
  default = create_process("adm").tables.betas
  np.testing.assert_allclose(default, np.linspace(1e-4, 0.02, 1000), rtol=1e-10)


@pytest.mark.parametrize("s", [0.008, 0.05])
def test_offset_of_the_cosine(s):
  t = np.linspace(0.01, 0.9, 50)
  angle = np.pi / 2 / (1 + s)
  alpha = np.cos((t + s) * angle) / np.cos(s * angle)
  schedule = create_process("vp", beta_schedule="cosine", cosine_s=s).schedule
  np.testing.assert_allclose(schedule.alpha(t), alpha, rtol=1e-12)
  np.testing.assert_allclose(
    schedule.beta(t), 2 * angle * np.tan((t + s) * angle), rtol=1e-10
  )
  np.testing.assert_allclose(schedule.time(schedule.lam(t)), t, rtol=1e-10)
  process = create_process("adm", beta_schedule="cosine", cosine_s=s)
  knots = np.arange(901) / 1000
  alpha_bar = np.cos((knots + s) * angle) ** 2 / np.cos(s * angle) ** 2
  np.testing.assert_allclose(
    process.full_alpha_bar[:900], alpha_bar[1:], rtol=1e-10
  )


def test_the_variance_as_the_output_of_the_network():
  process = create_process("adm", variance="learned")
  out = jnp.arange(8.0).reshape(1, 1, 1, 8)
  x = jnp.ones((1, 1, 1, 4))
  found = process.p_mean_variance(out, x, jnp.array([5])).log_variance
  np.testing.assert_array_equal(found, out[..., 4:])
  loss, metrics = process.loss_at(
    lambda x, t: jnp.concatenate([x, 0 * x], axis=-1), x, jnp.array([5]), x
  )
  np.testing.assert_allclose(loss, metrics["mse"] + metrics["vb"])


def test_rescaled_timesteps():
  process = create_process("adm", num_timesteps=250, rescale_timesteps=True)
  plain = create_process("adm", num_timesteps=250)
  index = jnp.array([0, 100, 249])
  np.testing.assert_array_equal(process.network_timestep(index), 4 * index)
  np.testing.assert_allclose(
    process.sigma_of(4 * index), plain.sigma_of(index), rtol=1e-6
  )
  assert process.network_time(0.5) == 4 * plain.network_time(0.5)


def test_noise_levels_that_an_edm_network_supports():
  process = create_process("edm", sigma_min=0.02, sigma_max=50.0)
  levels = create_sampler("heun", process).sigmas
  np.testing.assert_allclose(levels[[0, -2]], [50, 0.02], rtol=1e-12)


def test_constants_of_the_discretizations():
  def levels(**fields):
    process = create_process("edm")
    return create_sampler("heun", process, num_steps=5, **fields).sigmas[:-1]

  t = np.linspace(1, 1e-2, 5)
  expected = np.sqrt(np.expm1(19.9 / 2 * t**2 + 0.1 * t))
  found = levels(discretization="vp", epsilon_s=1e-2)
  np.testing.assert_allclose(found, expected, rtol=1e-10)
  iddpm = create_process("edm_iddpm", num_timesteps=200, c_1=0.01, c_2=0.05)
  kept = iddpm.levels[(iddpm.levels >= 0.002) & (iddpm.levels <= 81)]
  found = levels(discretization="iddpm", num_timesteps=200, c_1=0.01, c_2=0.05)
  np.testing.assert_array_equal(found[[0, -1]], kept[[0, -1]])
  assert np.isin(found, kept).all()


def test_halves_of_iddpm_are_rounded_as_in_the_official_code():
  levels = create_process("edm_iddpm").levels
  levels = levels[(levels >= 0.002) & (levels <= 81)]
  sampler = create_sampler(
    "heun", create_process("edm"), num_steps=59, discretization="iddpm"
  )
  positions = np.round((len(levels) - 1) / 58 * np.arange(59)).astype(int)
  np.testing.assert_array_equal(sampler.sigmas[:-1], levels[positions])


def test_first_time_of_euler():
  sampler = create_sampler(
    "probability_flow", create_process("vp"), num_steps=4, t_first=0.7
  )
  np.testing.assert_allclose(sampler.scheme.time, np.linspace(0.7, 1e-3, 4))


def strengths(name, field, factor):
  """The labels and images with one strength multiplied by a factor."""
  images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3))
  off = dict.fromkeys(
    ("xflip", "yflip", "scale", "rotate_frac", "aniso", "translate_frac"), 0.0
  )
  default = getattr(Augmentation(), field)
  fields = {**off, name: 1.0, "p": 1.0, field: factor * default}
  return Augmentation(**fields)(jax.random.key(1), images.astype(np.float32))


@pytest.mark.parametrize(
  "name, field",
  [
    ("translate_int", "translate_int_max"),
    ("scale", "scale_std"),
    ("rotate_frac", "rotate_frac_max"),
    ("aniso", "aniso_std"),
    ("translate_frac", "translate_frac_std"),
    ("brightness", "brightness_std"),
    ("contrast", "contrast_std"),
    ("hue", "hue_max"),
    ("saturation", "saturation_std"),
  ],
)
def test_strength_of_augmentations(name, field):
  """A tiny strength keeps the images, the default does not."""
  images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3))
  weak, _ = strengths(name, field, 1e-6)
  default, _ = strengths(name, field, 1.0)
  np.testing.assert_allclose(weak, images, atol=1e-4)
  assert np.abs(default - images).max() > 0.05


def test_rotated_axes_of_anisotropic_scaling():
  images = jnp.zeros((64, 8, 8, 3))
  for probability, rotated in ((0.0, False), (1.0, True)):
    fields = dict(p=1.0, xflip=0.0, yflip=0.0, scale=0.0, rotate_frac=0.0)
    augmentation = Augmentation(
      translate_frac=0.0, aniso_rotate_prob=probability, **fields
    )
    _, labels = augmentation(jax.random.key(0), images)
    assert bool((labels[:, 1] != 0).all()) == rotated


@pytest.mark.parametrize(
  "make, sentence",
  [
    (
      lambda: create_process("stable_diffusion", linear_start=0.1),
      "linear_start is 0.1 and linear_end is 0.012: expected 0 <",
    ),
    (
      lambda: create_process("adm", num_timesteps=10, linear_end=0.5),
      "linear_end is 0.5: expected 0 < linear_start < linear_end < 0.01",
    ),
    (
      lambda: create_process("adm", beta_schedule="cosine", linear_start=1e-4),
      "linear_start is set: expected None with the beta_schedule 'cosine'",
    ),
    (
      lambda: create_process("vp", cosine_s=0.0),
      "cosine_s is 0.0: expected a number above 0 and below 1",
    ),
    (lambda: create_process("adm", cosine_s=-1.0), "cosine_s is -1.0"),
    (
      lambda: create_process("edm", sigma_min=3.0, sigma_max=2.0),
      "sigma_min is 3.0 and sigma_max is 2.0: expected 0 <= sigma_min",
    ),
    (
      lambda: create_sampler("heun", create_process("edm"), epsilon_s=1.0),
      "Heun: epsilon_s is 1.0: expected a number above 0 and below 1",
    ),
    (
      lambda: create_sampler("heun", create_process("edm"), num_timesteps=1),
      "Heun: num_timesteps is 1: expected a number above 1",
    ),
    (
      lambda: (
        create_sampler(
          "heun",
          create_process("edm", sigma_min=79.0, sigma_max=80.0),
          discretization="iddpm",
        ).sigmas
      ),
      "'iddpm' has 0 noise levels from sigma_min=79",
    ),
    (
      lambda: create_sampler(
        "euler_maruyama", create_process("vp"), t_first=1e-4
      ),
      "t_last is 0.001 and t_first is 0.0001: expected 0 < t_last < t_first",
    ),
    (lambda: Augmentation(hue_max=0.0), "hue_max is 0.0: expected a number"),
    (
      lambda: Augmentation(aniso_rotate_prob=2.0),
      "aniso_rotate_prob is 2.0: expected a number from 0 to 1",
    ),
  ],
)
def test_bad_values_are_one_sentence(make, sentence):
  with pytest.raises(UsageError, match=sentence):
    make()


def test_a_discretization_without_levels_is_refused_before_use():
  sampler = create_sampler(
    "heun",
    create_process("edm"),
    discretization="iddpm",
    sigma_min=79.0,
    sigma_max=80.0,
  )
  with pytest.raises(UsageError, match="has 0 noise levels"):
    _ = sampler.sigmas

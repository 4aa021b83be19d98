"""The solver of an equilibrium layer in sampling."""

import typing

import jax
import numpy as np
import pytest

from configs import get_digits
from get_jax import weights
from get_jax.builders.config_check import check_config
from get_jax.builders.config_keys import SECTIONS
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.diffusion.noise import INITIAL, SampleNoise
from get_jax.equilibrium import Anderson, Simple
from get_jax.equilibrium.settings import SOLVERS
from get_jax.errors import UsageError
from tests.helpers import tiny_config

Y = np.array([1, 7])


@pytest.fixture(scope="module")
def setting():
  """The packaged GET, its parameters, and noise."""
  config = get_digits.get_config()
  config.sampling.iterations = 4
  noise = SampleNoise.create(jax.random.key(1), np.arange(2))
  return config, build_model(config), weights.load("get-digits"), noise


def generate(config, params, noise):
  return jax.jit(build_generator(config).generate)(params, noise, Y)


@pytest.mark.parametrize(
  ("options", "solver"),
  [
    (dict(solver="anderson"), Anderson()),
    (dict(tolerance=0.4), Simple(tolerance=0.4, relative=True)),
    (
      dict(solver="anderson", tolerance=0.6),
      Anderson(tolerance=0.6, relative=True),
    ),
  ],
)
def test_images_are_those_of_the_solver(setting, options, solver):
  config, model, params, noise = setting
  other = config.copy_and_resolve_references()
  with other.unlocked():
    other.sampling.update(options)
  check_config(other)
  expected, solution = model.clone(solver=solver).apply(
    {"params": params}, noise(INITIAL, (8, 8, 1)), Y, None, 4, method="solve"
  )
  if solver.tolerance:
    assert solution.converged.all() and solution.steps.max() < 4
  images = generate(other, params, noise)
  # Anderson acceleration amplifies rounding errors.
  np.testing.assert_allclose(images, expected, atol=1e-3)
  assert np.abs(images - generate(config, params, noise)).max() > 1e-2
  settings = build_generator(other).settings["equilibrium"]
  assert settings["sampling_solver"] == {
    "name": type(solver).__name__,
    "tolerance": solver.tolerance,
  }


def test_every_solver_has_a_name():
  # The table of keys does not import JAX.
  assert typing.get_args(SECTIONS["sampling"]["solver"].hint) == ("", *SOLVERS)


def test_a_tolerance_ends_the_loop(setting):
  config, _, params, noise = setting
  other = config.copy_and_resolve_references()
  with other.unlocked():
    other.sampling.tolerance = 0.4
  for each, loop in ((config, False), (other, True)):
    program = jax.make_jaxpr(build_generator(each).generate)(params, noise, Y)
    assert ("while[" in str(program)) == loop


def test_a_network_without_an_equilibrium():
  config = tiny_config()
  for key, value in (("solver", "anderson"), ("tolerance", 0.1)):
    with config.unlocked():
      config.sampling[key] = value
    with pytest.raises(
      UsageError, match=rf"sampling\.{key} is .*, but DiT has"
    ):
      check_config(config)
    del config.sampling[key]

"""Strict settings from a config."""

import ml_collections
import pytest

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Implicit,
  JacobianFree,
  Phantom,
  Settings,
  Simple,
  Unrolled,
)
from get_jax.errors import UsageError


def test_solver_and_gradient_from_a_config():
  config = ml_collections.ConfigDict(
    {
      "solver": {"name": "anderson", "max_steps": 24, "tolerance": 1e-3},
      "gradient": {
        "name": "implicit",
        "solver": {"name": "broyden", "memory": 8, "relative": True},
      },
    }
  )
  assert Settings.from_config(config) == Settings(
    Anderson(24, 1e-3), Implicit(Broyden(memory=8, relative=True))
  )
  assert Settings.from_config({}) == Settings(Simple(6), Unrolled())
  assert Settings.from_config(
    {
      "solver": {"name": "simple", "tolerance": 0, "damping": 1},
      "gradient": {"name": "phantom", "steps": 3, "tau": 0.5},
    }
  ) == Settings(Simple(tolerance=0.0, damping=1.0), Phantom(3, 0.5))
  unrolled = {"name": "unrolled", "policy": "nothing_saveable"}
  assert Settings.from_config({"gradient": unrolled}).gradient == Unrolled(
    policy="nothing_saveable"
  )
  free = Settings.from_config({"gradient": {"name": "jacobian_free"}})
  assert free.gradient == JacobianFree()


@pytest.mark.parametrize(
  ("config", "sentence"),
  [
    (
      {"solver": {"name": "simple", "max_step": 3}},
      "equilibrium.solver has no setting 'max_step'; the nearest is "
      "'max_steps'",
    ),
    ({"solvers": {}}, "no setting 'solvers'; the nearest is 'solver'"),
    (
      {"solver": {"name": "andersen"}},
      "equilibrium.solver.name is 'andersen'; the nearest is 'anderson'",
    ),
    ({"solver": {"name": "fzero"}}, "known are anderson, broyden, simple"),
    ({"solver": {"max_steps": 3}}, "expected a mapping whose 'name'"),
    ({"solver": "anderson"}, "expected a mapping whose 'name'"),
    (
      {"solver": {"name": "simple", "max_steps": "6"}},
      "max_steps is '6'; expected int",
    ),
    (
      {"solver": {"name": "simple", "max_steps": True}},
      "max_steps is True; expected int",
    ),
    (
      {"solver": {"name": "simple", "relative": 1}},
      "relative is 1; expected bool",
    ),
    (
      {"solver": {"name": "anderson", "window": 0}},
      "equilibrium.solver: Anderson.window is 0",
    ),
    (
      {"gradient": {"name": "implicit", "solver": {"name": "simple", "b": 1}}},
      "equilibrium.gradient.solver has no setting 'b'",
    ),
  ],
)
def test_invalid_settings_are_errors(config, sentence):
  with pytest.raises(UsageError) as caught:
    Settings.from_config(config)
  assert sentence in str(caught.value)
  assert str(caught.value).endswith(".")

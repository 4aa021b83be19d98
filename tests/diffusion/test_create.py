"""Processes and samplers by name, and the error messages."""

import pytest

from get_jax.diffusion import create_process, create_sampler
from get_jax.errors import UsageError


def test_names_and_settings():
  process = create_process("edm", p_mean=-0.4)
  assert process.p_mean == -0.4
  assert create_sampler("heun", process, num_steps=18).evaluations == 35
  assert hash(process) == hash(create_process("edm", p_mean=-0.4))


@pytest.mark.parametrize(
  "make, sentence",
  [
    (lambda: create_process("edn"), "unknown process 'edn': did you mean"),
    (lambda: create_process("edm", p_men=1), "did you mean 'p_mean'"),
    (
      lambda: create_process("edm", reduction="max"),
      "reduction is 'max': expected one of mean, sum",
    ),
    (
      lambda: create_sampler("huen", create_process("edm")),
      "unknown sampler 'huen': did you mean 'heun'",
    ),
    (
      lambda: create_sampler("heun", create_process("edm"), num_steps=1),
      "at least 2",
    ),
    (
      lambda: create_sampler("heun", create_process("edm"), process=1),
      "has no setting 'process'",
    ),
  ],
)
def test_wrong_combinations_are_one_sentence(make, sentence):
  with pytest.raises(UsageError, match=sentence):
    make()

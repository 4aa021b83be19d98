"""Attention maps along the generation of images."""

import jax
import numpy as np
import pytest

from get_jax import Pipeline
from get_jax.builders.model import build_init, build_model
from get_jax.errors import UsageError
from get_jax.nn.attention_maps import capture_attention
from tests.helpers import tiny_config, tiny_job


def pipeline(config):
  """A pipeline whose output layers are not zero."""
  params = jax.jit(build_init(build_model(config)))(jax.random.key(0))
  leaves, structure = jax.tree.flatten(params)
  random = np.random.default_rng(1)
  leaves = [leaf + 0.1 * random.normal(size=leaf.shape) for leaf in leaves]
  return Pipeline(
    config, jax.tree.unflatten(structure, map(np.float32, leaves))
  )


@pytest.fixture(scope="module")
def denoiser():
  return pipeline(tiny_config(model__null_class=True, model__depth=2))


def test_moments_of_a_denoiser(denoiser):
  options = dict(class_labels=[3, 7], seed=5)
  found = denoiser.attention_maps(**options, guidance=3.0, steps=4, moments=3)
  last = found[0].evaluations
  assert [m.evaluation for m in found] == [1, (1 + last) // 2, last]
  assert len({m.time for m in found}) == 3
  for moment in found:
    assert list(moment.maps) == ["blocks_0/attn", "blocks_1/attn"]
    expected = capture_attention(
      denoiser.model,
      denoiser.params,
      moment.inputs,
      np.full(2, moment.time, np.float32),
      np.array([3, 7]),
    )
    for path, weights in moment.maps.items():
      np.testing.assert_allclose(weights, expected[path], atol=1e-5)
  # The trajectory is that of guided samples.
  plain = denoiser.attention_maps(**options, guidance=1.0, steps=4, moments=3)
  np.testing.assert_array_equal(plain[0].inputs, found[0].inputs)
  assert np.abs(plain[2].inputs - found[2].inputs).max() > 1e-3


def test_iterations_of_a_student():
  student = pipeline(tiny_job())
  found = student.attention_maps(
    count=2, iterations=3, layers=["equilibrium_blocks_0/attn"]
  )
  assert [(m.evaluation, m.evaluations) for m in found] == [
    (1, 3),
    (2, 3),
    (3, 3),
  ]
  assert all(m.time is None for m in found)
  assert all(list(m.maps) == ["equilibrium_blocks_0/attn"] for m in found)
  first, *_ = found
  np.testing.assert_array_equal(first.inputs, found[-1].inputs)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(moments=0), "moments is 0; expected an integer of at least 1"),
    (dict(layers=["blocks_9/attn"]), "no attention layer 'blocks_9/attn'; did"),
    (dict(iterations=2), "has no equilibrium layer"),
    (dict(count=1, class_labels=[11]), "label 11 is out of range"),
  ],
)
def test_wrong_arguments(denoiser, options, message):
  with pytest.raises(UsageError, match=message):
    denoiser.attention_maps(**options)

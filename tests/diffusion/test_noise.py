import jax
import numpy as np

from get_jax.diffusion.noise import STEPS, SampleNoise

KEY = jax.random.key(3)


def test_a_sample_does_not_depend_on_its_batch():
  whole = SampleNoise.of(KEY, np.arange(6))
  part = SampleNoise.of(KEY, [4, 2])
  for stream in (0, 1, STEPS + 7):
    expected = whole(stream, (3, 2))[np.array([4, 2])]
    np.testing.assert_array_equal(part(stream, (3, 2)), expected)


def test_streams_and_samples_are_independent_normals():
  noise = SampleNoise.of(KEY, np.arange(64))
  draws = np.stack([noise(s, (32,)) for s in range(4)]).reshape(256, 32)
  assert abs(draws.mean()) < 0.05 and abs(draws.std() - 1) < 0.05
  assert np.abs(np.corrcoef(draws) - np.eye(256)).max() < 0.85


def test_it_passes_through_jit_and_takes_a_traced_stream():
  noise = SampleNoise.of(KEY, np.arange(2))
  draw = jax.jit(lambda noise, stream: noise(stream, (4,)))
  np.testing.assert_array_equal(draw(noise, 5), noise(5, (4,)))

import jax
import jax.numpy as jnp
import numpy as np
from fast_compile import fast_compile_jit

from get_jax.diffusion.noise import STEPS, SampleNoise

KEY = jax.random.key(3)


def test_a_sample_does_not_depend_on_its_batch():
  @fast_compile_jit
  def sample(indices, streams):
    noise = SampleNoise.create(KEY, indices)
    return [noise(stream, (3, 2)) for stream in streams]

  streams = 0, 1, STEPS + 7
  few = np.array([4, 2])
  for all_of_them, some in zip(
    sample(np.arange(6), streams), sample(few, streams), strict=True
  ):
    np.testing.assert_array_equal(some, all_of_them[few])


def test_streams_and_samples_are_independent_normals():
  noise = SampleNoise.create(KEY, np.arange(64))
  values = fast_compile_jit(
    lambda: jnp.stack([noise(s, (32,)) for s in range(4)])
  )()
  values = np.reshape(values, (256, 32))
  assert abs(values.mean()) < 0.05 and abs(values.std() - 1) < 0.05
  assert np.abs(np.corrcoef(values) - np.eye(256)).max() < 0.85


def test_it_passes_through_jit_and_takes_a_traced_stream():
  noise = SampleNoise.create(KEY, np.arange(2))
  sample = fast_compile_jit(lambda noise, stream: noise(stream, (4,)))
  assert not np.array_equal(sample(noise, 5), sample(noise, 6))
  np.testing.assert_allclose(sample(noise, 5), noise(5, (4,)), rtol=1e-6)

"""Fast compilation of programs whose run time is negligible."""

import functools

import jax
import numpy as np

from get_jax.diffusion.scheme import Scheme, integrate

_OPTIONS = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
  _OPTIONS["xla_cpu_use_fusion_emitters"] = False
fast_compile_jit = functools.partial(jax.jit, compiler_options=_OPTIONS)


def sample_together(samplers, net, noise, shape):
  """Samples with several samplers in one program.

  Shorter schemes are padded with rows that have no effect. All samplers must
  combine predictions of the same kind; that of the first is used.
  """
  assert not any(s.scheme.end_noise_scale for s in samplers)
  length = max(s.evaluations for s in samplers)
  noisy = any(s.scheme.noise_scale is not None for s in samplers)

  def filled(scheme):
    count = length - scheme.evaluations

    def fill(column, value):
      idle = np.full((count, *column.shape[1:]), value, column.dtype)
      return np.concatenate([column, idle])

    columns = {
      "start": np.float32(scheme.start),
      "time": fill(scheme.time, scheme.time[-1]).astype(np.float32),
      "starts_step": fill(scheme.starts_step, True),
      "base_weight": fill(scheme.base_weight, 1.0).astype(np.float32),
      "weights": fill(scheme.weights, 0.0).astype(np.float32),
    }
    if noisy:
      still = np.zeros(scheme.evaluations)
      noise_scale = still if scheme.noise_scale is None else scheme.noise_scale
      noise_index = still if scheme.noise_index is None else scheme.noise_index
      columns["noise_scale"] = fill(noise_scale, 0.0).astype(np.float32)
      columns["noise_index"] = fill(noise_index, 0).astype(np.int32)
    return columns

  def run(columns):
    scheme, predict = Scheme(**columns), samplers[0].predictor(net)
    return integrate(scheme, predict, noise, shape, denoised=None)

  tables = [filled(s.scheme) for s in samplers]
  stacked = jax.tree.map(lambda *columns: np.stack(columns), *tables)
  return fast_compile_jit(jax.vmap(run))(stacked)

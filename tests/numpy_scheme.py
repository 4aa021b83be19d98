"""Runs the tables of samplers with NumPy in float64."""

import numpy as np


def run_scheme(scheme, net, x, noises=None):
  """Returns the states at the start of every step, and then the samples.

  Args:
    scheme: the table.
    net: (x, t) -> prediction; t has one number per sample.
    x: the initial state, (B, ...).
    noises: noise of each step, each like x; None for a table without noise.
  """
  states, past = [], [np.zeros_like(x)] * scheme.weights.shape[1]
  for row, time in enumerate(scheme.time):
    if scheme.noise_scale is not None and scheme.noise_scale[row]:
      x = x + scheme.noise_scale[row] * noises[scheme.noise_index[row]]
    if scheme.starts_step[row]:
      base = x
      states.append(x)
    past = [np.asarray(net(x, np.full(len(x), time))), *past[:-1]]
    x = scheme.base_weight[row] * base
    x = x + sum(w * p for w, p in zip(scheme.weights[row], past, strict=True))
  if scheme.end_noise_scale:
    x = x + scheme.end_noise_scale * noises[len(states) - 1]
  return np.stack([*states, x])

"""The maps, solvers and settings of torchdeq's cases."""

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.equilibrium import Anderson, Broyden, Simple

# Evaluations that torchdeq leaves out of its traces.
UNSEEN = {Anderson: 2, Broyden: 1, Simple: 0}


def tanh_map(params, x, z):
  """The map of most cases."""
  return jnp.tanh(z @ params["W"].T + x @ params["U"].T + params["b"])


def float64():
  """Switches float64 on while the generator is suspended.

  The programs are small and run once: most of their time is compilation.
  """
  jax.config.update("jax_disable_most_optimizations", True)
  # Not the context manager: callbacks run in other threads.
  jax.config.update("jax_enable_x64", True)
  yield
  jax.config.update("jax_enable_x64", False)
  jax.config.update("jax_disable_most_optimizations", False)


def make_solver(kind, steps, tolerance=0.0, options=None):
  """Builds our solver of torchdeq's name and options.

  Args:
    kind: name of the solver in torchdeq; None for its default.
    steps: torchdeq's limit of iterations.
    tolerance: tolerance.
    options: the other options of the solver.
  """
  options = options or {}
  tau = options.get("tau", 1.0)
  if options.get("return_final"):
    tolerance = None
  common = dict(tolerance=tolerance, relative=options.get("stop_mode") == "rel")
  if kind in (None, "fixed_point_iter"):
    return Simple(steps, damping=tau, **common)
  if kind == "simple_fixed_point_iter":
    return Simple(steps, None, damping=tau)
  if kind == "anderson":
    return Anderson(
      steps,
      window=min(options.get("m", 6), steps),
      mixing=tau,
      ridge=options.get("lam", 1e-4),
      absolute=True,
      **common,
    )
  assert kind == "broyden"
  # The limit does not count the first evaluation.
  return Broyden(
    steps + 1,
    memory=options.get("LBFGS_thres"),
    restart="LBFGS_thres" not in options,
    line_search=options.get("ls", False),
    **common,
  )


def solver_of_trace(kind, trace):
  """Builds a solver that takes as many steps as torchdeq did.

  torchdeq stops a batch when its worst sample has converged, and pads its
  trace with the best value.

  Args:
    kind: name of the solver in torchdeq; None for its default.
    trace: torchdeq's trace of residuals, (B, L); its first column is a
      placeholder.
  """
  trace = trace[:, 1:]
  padded = (trace[:, 1:] == trace[:, :-1]).all(axis=0)
  count = int(np.argmax(padded)) + 1 if padded.any() else trace.shape[1]
  # Anderson's trace lacks two evaluations.
  return make_solver(kind, count + 2 if kind == "anderson" else count)

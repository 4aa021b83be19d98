# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fixed points: solvers, gradients, and what to do without convergence
#
# `get_jax.equilibrium` is pure JAX and can be used on its own. `fixed_point`
# solves z = f(params, x, z) for every sample of a batch, with a solver and a
# gradient of your choice.

# %%
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Implicit,
  Phantom,
  Simple,
  Unrolled,
  fixed_point,
)

# %% [markdown]
# ## A layer
#
# f is a small network with weights W of spectral radius `radius`. Below 1 the
# plain iteration converges; the closer to 1, the slower.


# %%
def layer(params, x, z):
  """Returns tanh(z W + x)."""
  return jnp.tanh(z @ params + x)


def problem(radius, width=64, batch=8):
  """Returns random weights of a spectral radius, inputs, and an initial z."""
  w_key, x_key = jax.random.split(jax.random.key(0))
  weights = jax.random.normal(w_key, (width, width))
  scale = np.abs(np.linalg.eigvals(np.asarray(weights))).max()
  x = 0.1 * jax.random.normal(x_key, (batch, width))
  return weights * radius / scale, x, jnp.zeros((batch, width))


params, x, z0 = problem(0.9)
solution = fixed_point(
  layer, params, x, z0, solver=Anderson(tolerance=1e-5, max_steps=100)
)
print("converged:", solution.converged)
print("evaluations of f per sample:", solution.steps)
print("largest residual:", float(solution.residual.max()))

# %% [markdown]
# ## Solvers
#
# `Simple` iterates z = f(z). `Anderson` combines the last states, `Broyden`
# approximates Newton's method. Near a spectral radius of 1 they need far fewer
# evaluations.

# %%
solvers = {"plain iteration": Simple, "Anderson": Anderson, "Broyden": Broyden}


def plot_trace(solution, name):
  """Plots the median of the residuals of the samples that are not finished."""
  trace = np.asarray(solution.relative_trace)
  trace = trace[~np.isnan(trace).all(axis=1)]
  plt.semilogy(np.nanmedian(trace, axis=1), label=name)


for name, solver in solvers.items():
  solver = solver(tolerance=1e-6, max_steps=120)
  solution = fixed_point(layer, params, x, z0, solver=solver, trace=True)
  plot_trace(solution, name)
plt.xlabel("evaluation of f")
plt.ylabel("median relative residual")
plt.legend()
plt.show()

# %% [markdown]
# ## Gradients
#
# - `Unrolled` differentiates through the iterations. Memory grows with them.
# - `Implicit` solves the linear equation of the implicit function theorem.
#   Memory does not depend on the iterations.
# - `Phantom` differentiates through a few damped steps at the solution.
#
# All three are compared with the exact gradient, from a dense solve.

# %%
params, x, z0 = problem(0.8, width=16, batch=1)


def loss(params, gradient):
  """Returns a loss of the fixed point."""
  solver = Simple(max_steps=200, tolerance=1e-7)
  z = fixed_point(layer, params, x, z0, solver=solver, gradient=gradient).value
  return jnp.sum(z**2)


def exact_gradient():
  """Returns the gradient by the implicit function theorem."""
  z = fixed_point(
    layer, params, x, z0, solver=Simple(max_steps=500, tolerance=1e-7)
  ).value
  jacobian = jax.jacobian(lambda z: layer(params, x, z)[0])(z)[:, 0]
  adjoint = jnp.linalg.solve(jnp.eye(16) - jacobian.T, 2 * z[0])
  _, pull = jax.vjp(lambda params: layer(params, x, z), params)
  return pull(adjoint[None])[0]


exact = exact_gradient()
for name, gradient in {
  "Unrolled": Unrolled(),
  "Implicit": Implicit(solver=Anderson(tolerance=1e-6, max_steps=100)),
  "Phantom, 1 step": Phantom(),
  "Phantom, 5 steps": Phantom(steps=5),
}.items():
  found = jax.grad(loss)(params, gradient)
  error = jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)
  print(f"{name:16} relative error {float(error):.1e}")

# %% [markdown]
# `Unrolled` and `Implicit` agree with the exact gradient up to rounding.
# `Phantom` is an approximation by design, and improves with its steps.
#
# ## When it does not converge
#
# Above a spectral radius of 1 there may be no stable fixed point for the plain
# iteration. `converged` says so per sample, and the trace shows why.

# %%
params, x, z0 = problem(1.6)
for name, solver in solvers.items():
  solver = solver(tolerance=1e-5, max_steps=80)
  solution = fixed_point(layer, params, x, z0, solver=solver, trace=True)
  share = float(solution.converged.mean())
  print(f"{name:16} converged: {share:.0%}, steps {np.asarray(solution.steps)}")
  plot_trace(solution, name)
plt.xlabel("evaluation of f")
plt.ylabel("median relative residual")
plt.legend()
plt.show()

# %% [markdown]
# What helps, in this order:
#
# 1. Look at `relative_trace`: a plateau is oscillation (damp it:
#    `Simple(damping=...)`), growth is instability.
# 2. Use `Anderson` or `Broyden`, with a tolerance that the precision allows;
#    float32 rarely goes below 1e-6.
# 3. Make f a contraction: weight normalisation, a regulariser of the Jacobian
#    (`get_jax.equilibrium.regularizers`), or a smaller step.
# 4. Train with a fixed number of iterations (`Unrolled`), as GET does. Then no
#    convergence is needed, and the model is a weight-tied network.

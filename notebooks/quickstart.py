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
# # Quickstart: one-step images from an equilibrium transformer
#
# This notebook loads a small trained **GET** (Generative Equilibrium
# Transformer), which maps noise to an image in one network call, and its
# teacher, a **DiT** that needs 35 network evaluations per image. Both are part
# of the package: nothing is downloaded.
#
# It then looks at what only an equilibrium model has: the number of iterations
# is chosen at test time.
#
# On Colab, upload a wheel of `get_jax` (`pip wheel --no-deps .` in a clone) or
# clone the repository into the current folder first. The next cell installs it
# for the hardware of the machine.

# %%
import importlib.util
import pathlib
import shutil
import subprocess
import sys

if importlib.util.find_spec("get_jax") is None:
  wheels = sorted(pathlib.Path().glob("get_jax-*.whl"))
  source = wheels[-1] if wheels else pathlib.Path("get_jax")
  if not source.exists():
    raise FileNotFoundError("expected a wheel or a clone of get_jax here")
  if any(pathlib.Path("/dev").glob("accel*")):
    extra = "[tpu]"
  else:
    extra = "[cuda12]" if shutil.which("nvidia-smi") else ""
  command = [sys.executable, "-m", "pip", "install", "-q", f"./{source}{extra}"]
  subprocess.run(command, check=True)

# %%
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

import get_jax

print(f"get_jax {get_jax.__version__}, JAX {jax.__version__}, {jax.devices()}")

# %% [markdown]
# ## Draw digits
#
# `Pipeline.load` takes a workdir, also in a bucket, or a name. A call returns
# uint8 images. Image *i* depends on the seed, on *i* and on its class alone, so
# the same call gives the same images on any machine, up to rounding.

# %%
student = get_jax.Pipeline.load("get-digits")
teacher = get_jax.Pipeline.load("dit-digits")
print(student)
print(teacher)


# %%
def show(images, columns, title=""):
  """Shows images in rows."""
  rows = -(-len(images) // columns)
  figure, axes = plt.subplots(
    rows,
    columns,
    figsize=(0.7 * columns, 0.7 * rows + 0.3 * bool(title)),
    squeeze=False,
    layout="constrained",
  )
  for axis, image in zip(axes.flat, images, strict=True):
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
  for axis in axes.flat:
    axis.axis("off")
  figure.suptitle(title)
  plt.show()


labels = np.tile(np.arange(10), 3)
show(student(class_labels=labels, seed=0), 10, "GET, one call")
show(teacher(class_labels=labels, seed=0), 10, "DiT, 35 evaluations")

# %% [markdown]
# The student was trained on pairs of noise and the teacher's image. With the
# same seed it gets the same noise, so the images of both correspond.
#
# ## Iterations are chosen at test time
#
# GET's layer is a fixed point z = f(z, x). It was trained with six iterations;
# fewer give coarser images, more change little.

# %%
counts = (1, 2, 3, 6, 12)
for count in counts:
  images = student(class_labels=range(10), seed=0, iterations=count)
  show(images, 10, f"{count} iteration{'s' if count > 1 else ''}")

# %% [markdown]
# The residual ||f(z) - z|| / ||f(z)|| of every iteration shows how far each
# sample is from its fixed point. `pipe.model` is a Flax module and
# `pipe.params` its parameters, so all of Flax is at hand.

# %%
noise = jax.random.normal(jax.random.key(0), (64, 8, 8, 1))
classes = jnp.arange(64) % 10
images, solution = student.model.apply(
  {"params": student.params},
  noise,
  classes,
  None,
  24,
  trace=True,
  method="solve",
)
residuals = np.asarray(solution.relative_trace)
plt.semilogy(np.arange(1, 25), residuals, color="gray", alpha=0.3)
plt.semilogy(np.arange(1, 25), np.median(residuals, axis=1), label="median")
plt.xlabel("iteration")
plt.ylabel("relative residual")
plt.legend()
plt.show()

# %% [markdown]
# ## A walk through the noise
#
# One call per image makes latent walks cheap. Points between two noises are
# taken on the sphere, because that is where Gaussian noise lies.


# %%
def between(first, second, fraction):
  """Interpolates two noises on the sphere."""
  cosine = jnp.vdot(first, second) / (
    jnp.linalg.norm(first) * jnp.linalg.norm(second)
  )
  angle = jnp.arccos(cosine)
  return (
    jnp.sin((1 - fraction) * angle) * first + jnp.sin(fraction * angle) * second
  ) / jnp.sin(angle)


rows = []
for digit in (2, 3, 8):
  first, second = noise[digit], noise[digit + 10]
  path = jnp.stack([between(first, second, t) for t in np.linspace(0, 1, 10)])
  y = jnp.full(len(path), digit)
  walk = student.model.apply({"params": student.params}, path, y, None, 6)
  rows.append(np.clip(127.5 * np.asarray(walk) + 128, 0, 255).astype(np.uint8))
show(np.concatenate(rows), 10, "from one noise to another")

# %% [markdown]
# ## Next
#
# - `distil_your_own`: a teacher, pairs and a GET of your own images.
# - `fixed_points`: the equilibrium layer on its own.
# - `official_checkpoints`: DiT-XL/2 by name.

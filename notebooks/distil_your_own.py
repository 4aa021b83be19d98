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
# # Distil a one-step generator of your own images
#
# Four steps, from a folder of images to a **GET** that makes an image in one
# network call:
#
# 1. A small diffusion **teacher**, a DiT, is trained on the images.
# 2. The teacher generates **pairs** of noise and image.
# 3. The GET is trained on the pairs alone.
# 4. Teacher and student are **scored**.
#
# Without a folder the notebook uses 1,797 handwritten digits, which need no
# download, and takes about ten minutes on two CPU cores.
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
import json

import numpy as np
from IPython.display import Image, display
from matplotlib import pyplot as plt

import get_jax
from get_jax.builders.config_file import load_config_file
from get_jax.builders.data import build_source
from get_jax.evaluation import to_uint8
from get_jax.modes import pairs, train

# %% [markdown]
# ## Settings
#
# `FOLDER` has one subfolder per class, with images of any format and size. They
# are cropped and resized to `SIZE`. The other values suit the digits. Images of
# a folder need more steps, a larger `WIDTH`, and a GPU or TPU. The experiment
# `get_digits:smoke` has tiny networks, for a trial.

# %% tags=["parameters"]
EXPERIMENT = "get_digits"
FOLDER = ""  # empty: the digits of the experiment
SIZE, CHANNELS = 32, 3  # of the images of a folder
EXTRACTOR = "inception"  # features of the scores; downloaded on first use
WIDTH = 192  # of both networks
TEACHER_STEPS = 1_000
STUDENT_STEPS = 1_500
PAIRS = 10_000
SAMPLES = 2_000  # images that are scored
ITERATIONS = (1, 2, 6)  # of the student, in the scores
WORKDIR = pathlib.Path("runs/distil")

# %% [markdown]
# An experiment is a config. `get_digits` is the one that `scripts/digits.sh`
# runs, here with fewer steps, pairs and samples. Its section `teacher` is an
# experiment of its own.

# %%
config = load_config_file(EXPERIMENT)
config.num_steps, config.teacher.num_steps = STUDENT_STEPS, TEACHER_STEPS
config.model.hidden_size = config.teacher.model.hidden_size = WIDTH
config.pairs.count, config.pairs.shard_size = PAIRS, min(PAIRS, 2_000)
config.evaluation.count = SAMPLES
config.sampling.batch_size = min(SAMPLES, config.sampling.batch_size)
config.report.iterations = ITERATIONS
if FOLDER:
  config.teacher.data = dict(
    name="images", path=FOLDER, image_size=SIZE, channels=CHANNELS
  )
  config.teacher.process.sigma_data = 0.5  # EDM's value for natural images
source = build_source(config.teacher)
if FOLDER:
  for model in (config.model, config.teacher.model):
    model.image_size, model.in_channels = SIZE, CHANNELS
    model.num_classes = source.num_classes
  config.evaluation.extractor = EXTRACTOR
  config.evaluation.scores = ("fid",)
train.check_experiment(config)  # an error now, not after the teacher's training
print(f"{len(source):,} images of {source.num_classes} classes")


# %%
def show(images, columns=10):
  """Shows images, uint8 (n, H, W, C), in rows."""
  rows = -(-len(images) // columns)
  _, axes = plt.subplots(
    rows,
    columns,
    figsize=(0.7 * columns, 0.7 * rows),
    squeeze=False,
    layout="constrained",
  )
  for axis in axes.flat:
    axis.axis("off")
  for axis, image in zip(axes.flat, images, strict=False):
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
  plt.show()


indices = np.linspace(0, len(source) - 1, 20).astype(int)
show(to_uint8(source.read(indices)["image"]))

# %% [markdown]
# ## 1. Teacher
#
# The DiT learns to denoise. `train.run` is what `get_jax --config=...
# --workdir=...` runs. A cell that was stopped continues where it was when it is
# run again, with bit-identical results.

# %%
train.run(config.teacher, WORKDIR / "teacher")


# %%
def show_loss(workdir):
  """Plots the loss of a run from its metrics.jsonl."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  metrics = [json.loads(line) for line in lines]
  plt.figure(figsize=(5, 2.5), layout="constrained")
  plt.semilogy([m["step"] for m in metrics], [m["loss"] for m in metrics])
  plt.xlabel("step")
  plt.ylabel("loss")
  plt.show()


show_loss(WORKDIR / "teacher")

# %% [markdown]
# `Pipeline` loads the run of any workdir. An image of the teacher takes many
# evaluations of its network.

# %%
classes = np.arange(20) % source.num_classes
teacher = get_jax.Pipeline.load(WORKDIR / "teacher")
print(teacher)
show(teacher(class_labels=classes, seed=0))

# %% [markdown]
# ## 2. Pairs
#
# The noise of a pair follows from the seed and the pair's number, so that only
# images and classes are stored. The files are checksummed, and written anew if
# they are damaged.

# %%
pairs.run(config, WORKDIR)

# %% [markdown]
# ## 3. Student
#
# The GET learns to map the noise of a pair to its image in one call. Teacher
# and pairs are ready, so that this trains the student, and then makes the
# report: the scores of the teacher, and of the student with several numbers of
# equilibrium iterations, with the same extractor and reference.
#
# On a command line, `get_jax --config=get_digits --workdir=...` is all of the
# above.

# %%
train.run(config, WORKDIR)
show_loss(WORKDIR)

# %% [markdown]
# ## 4. Scores
#
# The score against the number of iterations; the student was trained with six.

# %%
display(Image(WORKDIR / "samples" / "iterations.png", width=500))

# %% [markdown]
# Student, teacher and real images, a class in each row. Student and teacher
# start from the same noise.

# %%
display(Image(WORKDIR / "samples" / "comparison.png", width=700))

# %% [markdown]
# ## Use it

# %%
student = get_jax.Pipeline.load(WORKDIR)
print(student)
images = student(class_labels=classes, seed=1)
print(images.shape, images.dtype)
show(images)

# %% [markdown]
# `runs/distil/results/index.html` has curves, pictures, scores and settings on
# one page. More steps, pairs and width give better images: the README has the
# numbers of the whole run.

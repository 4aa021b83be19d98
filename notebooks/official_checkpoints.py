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
# # Official checkpoints: DiT-XL/2 by name
#
# This notebook fetches a published checkpoint, shows what the file holds,
# converts it to a workdir of `get_jax`, generates images, and exports it again,
# bit for bit. PyTorch is not needed, and nothing in a file is executed.
#
# DiT's weights are for non-commercial use (CC BY-NC 4.0). `ACCEPT_LICENCE =
# True` accepts that, and downloads 2.7 GB on first use.
#
# Where the licence is not accepted, or the file cannot be downloaded, the
# notebook continues with a **small random checkpoint** of the same layout, and
# prints that it does. Its images are noise; every step is the same.
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
import numpy as np
from flax import traverse_util
from matplotlib import pyplot as plt

import get_jax
from get_jax import weights
from get_jax.builders.config_file import load_config_file
from get_jax.errors import UsageError
from get_jax.interop import export_checkpoint, read_checkpoint
from get_jax.modes import convert

# %% tags=["parameters"]
NAME = "DiT-XL/2-256"
ACCEPT_LICENCE = False
STEPS = 50  # of the sampler; the published scores are those of 250
FOLDER = pathlib.Path("runs/official")  # its contents are replaced

# %% [markdown]
# ## Names
#
# `get_jax --mode=weights` prints the same list with sizes and addresses.

# %%
for name in weights.names("network"):
  entry = weights.find(name)
  print(f"{name:28} {entry.licence.name:18} {entry.score}")

# %% [markdown]
# ## Fetch
#
# `fetch` downloads a file into the cache on first use, and verifies it on every
# use. It takes a file that was put there by hand as well.

# %%
entry = weights.find(NAME)
config = load_config_file(entry.config)
try:
  file, autoencoder = weights.fetch(NAME, ACCEPT_LICENCE), entry.autoencoder
except UsageError as error:
  print(f"{NAME} is not available: {error}.\n")
  print("The rest uses a SMALL RANDOM checkpoint. Its images are noise.")
  file, autoencoder = None, ""


# %%
def write_random_checkpoint(path, config):
  """Writes normally distributed tensors under their official names."""
  model = get_jax.create_model(**config.model)
  params = jax.eval_shape(model.init, jax.random.key(0), *model.inputs(1))
  generator = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: 0.1 * generator.standard_normal(leaf.shape, np.float32),
    params["params"],
  )
  export_checkpoint(path, model, params)


shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir(parents=True)
if file is None:
  file = FOLDER / "random.safetensors"
  config.model.update(image_size=64, hidden_size=96, depth=2, num_heads=2)
  config.autoencoder.name = ""  # its four channels are shown undecoded
  write_random_checkpoint(file, config)
print(file.name, f"{file.stat().st_size / 1e6:,.1f} MB")

# %% [markdown]
# ## Read
#
# A `.pt` file contains a pickle, which is a program that Python's `pickle`
# module would run. Here it is disassembled, and only opcodes that describe data
# are executed. The result is a dict of NumPy arrays, views of the file.

# %%
tensors = read_checkpoint(file)
print(len(tensors), "tensors; of the blocks, the first is shown")
for name, tensor in tensors.items():
  if not name.startswith("blocks.") or name.startswith("blocks.0."):
    print(f"  {name:32} {tensor.dtype} {tensor.shape}")

# %% [markdown]
# ## Convert to a workdir
#
# This is `get_jax --mode=convert --config=dit_xl2 --checkpoint=FILE
# --workdir=DIR`. The parameters become step 0 of a run: `sample` and `evaluate`
# use them, `train` continues from them. A file that does not fit the config is
# an error that lists the tensors that differ.

# %%
workdir = FOLDER / "run"
convert.run(config, workdir, checkpoint=str(file))
params = get_jax.load_params(workdir)
count = sum(leaf.size for leaf in jax.tree.leaves(params))
print(f"{count:,} parameters in {len(jax.tree.leaves(params))} arrays")
for path, leaf in traverse_util.flatten_dict(params, sep="/").items():
  if not path.startswith("blocks_") or path.startswith("blocks_0/"):
    print(f"  {path:40} {leaf.dtype} {leaf.shape}")

# %% [markdown]
# Names and layouts are those of Flax: a `kernel` is (in, out) where PyTorch's
# `weight` is (out, in), and images are NHWC.
#
# ## Generate
#
# 207 is ImageNet's golden retriever, 360 the otter, 417 the balloon, 980 the
# volcano. `Pipeline.load(NAME)` is a shortcut for all of the above.

# %%
pipe = get_jax.Pipeline.load(workdir, autoencoder=autoencoder or None)
print(pipe)
images = pipe(
  class_labels=[207, 360, 417, 980],
  seed=0,
  guidance=4.0,
  sampler="ddim",
  steps=STEPS,
)
_, axes = plt.subplots(1, len(images), figsize=(8, 2), layout="constrained")
for axis, image in zip(axes, images, strict=True):
  axis.imshow(image[..., :3])
  axis.axis("off")
plt.show()

# %% [markdown]
# ## Export
#
# The way back is exact: the exported file has the names, shapes and bits of the
# checkpoint that was imported. Fine-tuned parameters are exported the same way.

# %%
export = FOLDER / "export.safetensors"
convert.run(config, workdir, export=str(export))
exported = read_checkpoint(export)
assert exported.keys() == tensors.keys()
for name, tensor in tensors.items():
  assert exported[name].dtype == tensor.dtype, name
  assert exported[name].shape == tensor.shape, name
  assert exported[name].tobytes() == tensor.tobytes(), name
print(f"{len(tensors)} tensors are equal bit for bit")

r"""Computes the similarity of U-ViT's blocks (Figure 2 of its appendix).

    for skip in concat add none; do
      python main.py --config=configs/uvit_s2_cifar10.py \
        --workdir=runs/uvit_$skip --config.model.skip=$skip
    done
    python experiments/uvit_cka.py runs/uvit_concat runs/uvit_add runs/uvit_none

For each run the script prints the linear CKA (Kornblith et al. 2019) between
the output tokens of every pair of blocks, for training images noised to
t = 0.5, and plots the matrices side by side. The paper reports for 13 blocks:
with "concat" neighbouring blocks are dissimilar; with "add" blocks 0-3 and 6-11
are similar, with "none" blocks 0-5 and 6-11. It does not say how tokens or
images were pooled; here all tokens of an image form one vector, and all images
one batch.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from get_jax.builders.data import build_source
from get_jax.builders.model import build_model
from get_jax.builders.process import build_process
from get_jax.diffusion.continuous import VariancePreserving
from get_jax.errors import UsageError
from get_jax.models.uvit import UViT
from get_jax.training.checkpoints import load_params
from get_jax.training.workdir import read_config


def gram(features: Float[Array, "n ..."]) -> Float[Array, "n n"]:
  """Computes the Gram matrix of centred features.

  Args:
    features: (n, ...) features of n samples; all axes but the first are
      flattened.

  Returns:
    (n, n) inner products.
  """
  flat = features.reshape(len(features), -1)
  flat = flat - flat.mean(axis=0)
  return jnp.matmul(flat, flat.T, precision="highest")


def cka(grams: ArrayLike, unbiased: bool = False) -> Float64[np.ndarray, "L L"]:
  """Computes the linear CKA of every pair of features of the same samples.

  Args:
    grams: (L, n, n) Gram matrices, as `gram` returns them.
    unbiased: Use the unbiased estimator of HSIC (Song et al. 2012), which does
      not grow with the width of the features; it needs n > 3.

  Returns:
    (L, L) float64, ones on the diagonal.
  """
  grams = np.asarray(grams, np.float64)
  count = grams.shape[-1]
  if unbiased:
    grams = grams * (1 - np.eye(count))
    sums = grams.sum(-1)
    total = sums.sum(-1)
    hsic = np.einsum("aij,bij->ab", grams, grams)
    hsic += np.outer(total, total) / ((count - 1) * (count - 2))
    hsic -= 2 / (count - 2) * (sums @ sums.T)
  else:
    hsic = np.einsum("aij,bij->ab", grams, grams)
  norms = np.sqrt(np.diag(hsic))
  return hsic / np.outer(norms, norms)


def block_grams(
  model: UViT,
  params: dict,
  x: Float[Array, "n H W C"],
  t: Float[Array, " n"],
  y: Int[Array, " n"] | Int[np.ndarray, " n"] | None = None,
) -> Float[Array, "L n n"]:
  """Returns Gram matrices of each block's output, (depth + 1, n, n)."""

  @jax.jit
  def run(params, x, t, y):
    states = model.apply({"params": params}, x, t, y, method="hidden_states")
    assert isinstance(states, jax.Array)
    return jax.vmap(gram)(states)

  return run(params, x, t, y)


def cka_of_run(
  workdir: str, images: int, t: float, unbiased: bool
) -> Float64[np.ndarray, "L L"]:
  """Computes the CKA between the blocks of a trained run.

  Args:
    workdir: Workdir of the run.
    images: Number of images of its training data to use.
    t: Continuous time in (0, 1] of the noise added to them.
    unbiased: As in `cka`.

  Raises:
    UsageError: The workdir has no run, or the run is not of a U-ViT with a
      process in continuous time.
  """
  config = read_config(workdir)
  model, process = build_model(config), build_process(config)
  if not isinstance(model, UViT):
    raise UsageError(
      f"{workdir} has the model {config.model.name}; expected a U-ViT"
    )
  if not isinstance(process, VariancePreserving):
    raise UsageError(
      f"{workdir} has the process {config.process.name}; expected one with a "
      "continuous time, such as vp"
    )
  batch = build_source(config).read(np.arange(images))
  noise = np.random.default_rng(0).standard_normal(batch["image"].shape)
  schedule = process.schedule
  x = schedule.alpha(t) * batch["image"] + schedule.sigma(t) * noise
  grams = block_grams(
    model,
    load_params(workdir),
    jnp.asarray(x, jnp.float32),
    jnp.full(images, process.network_time(t)),
    batch["label"] if model.num_classes else None,
  )
  return cka(grams, unbiased)


def plot(matrices: dict[str, np.ndarray], path: str) -> None:
  """Plots the matrices as heat maps, side by side, and saves the figure."""
  figure = Figure(figsize=(4 * len(matrices), 4), layout="constrained")
  axes = figure.subplots(1, len(matrices), squeeze=False)[0]
  for axis, (name, matrix) in zip(axes, matrices.items(), strict=True):
    image = axis.imshow(matrix, vmin=0, vmax=1, origin="lower")
    axis.set(title=name, xlabel="block", ylabel="block")
  figure.colorbar(image, ax=axes, label="linear CKA")
  figure.savefig(path)


def main() -> None:
  """Parses flags, computes the CKA of each run, and plots it."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("workdir", nargs="+", help="workdir of a trained run")
  parser.add_argument("--images", type=int, default=256)
  parser.add_argument("--time", type=float, default=0.5)
  parser.add_argument("--unbiased", action="store_true")
  parser.add_argument("--figure", default="uvit_cka.png")
  args = parser.parse_args()
  matrices = {}
  for workdir in args.workdir:
    try:
      matrix = cka_of_run(workdir, args.images, args.time, args.unbiased)
    except UsageError as error:
      parser.error(str(error))
    matrices[workdir] = matrix
    print(f"{workdir}, {args.images} images, t = {args.time}")
    print(np.array2string(matrix, precision=2, max_line_width=120))
    print(f"neighbours: {np.diag(matrix, 1).mean():.3f} on average\n")
  plot(matrices, args.figure)
  print(f"figure saved to {args.figure}")


if __name__ == "__main__":
  main()

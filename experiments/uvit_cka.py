r"""U-ViT's Figure 2 of the appendix: how alike its blocks' outputs are.

    for skip in concat add none; do
      python main.py --config=configs/uvit_s2_cifar10.py \
        --workdir=runs/uvit_$skip --config.model.skip=$skip
    done
    python experiments/uvit_cka.py runs/uvit_concat runs/uvit_add runs/uvit_none

Prints, for each run, the linear CKA (Kornblith et al. 2019) between the tokens
behind every two blocks, with images of the training data noised to t = 0.5,
and draws them side by side. The paper says of 13 blocks: "concat" leaves
neighbours unlike; with "add" blocks 0-3 and 6-11 are alike, with "none" blocks
0-5 and 6-11. It does not say how tokens or images were pooled; here all tokens
of an image are one vector, and all images one batch.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from get_jax.builders.data import build_source
from get_jax.builders.model import build_model
from get_jax.builders.process import build_process
from get_jax.diffusion.continuous import VariancePreserving
from get_jax.errors import UsageError
from get_jax.models.uvit import UViT
from get_jax.training.checkpoints import load_params


def gram(features: jax.Array) -> jax.Array:
  """Products of all pairs of samples, about their mean.

  Args:
    features: (n, ...), everything behind the first axis being one vector.

  Returns:
    (n, n).
  """
  flat = features.reshape(len(features), -1)
  flat = flat - flat.mean(axis=0)
  return jnp.matmul(flat, flat.T, precision="highest")


def cka(grams: np.ndarray, unbiased: bool = False) -> np.ndarray:
  """Linear CKA of every two sets of features of the same samples.

  Args:
    grams: (L, n, n), of `gram`.
    unbiased: takes the unbiased estimator of HSIC (Song et al. 2012), which
      does not grow with the width of the features; it needs n > 3.

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


def block_grams(model: UViT, params, x, t, y=None) -> jax.Array:
  """`gram` of the tokens behind each block, (depth + 1, n, n)."""

  @jax.jit
  def run(params, x, t, y):
    states = model.apply({"params": params}, x, t, y, method="hidden_states")
    return jax.vmap(gram)(states)

  return run(params, x, t, y)


def analyse(workdir: str, images: int, t: float, unbiased: bool) -> np.ndarray:
  """CKA between the blocks of a trained run.

  Args:
    workdir: folder of the run.
    images: how many images of its training data to take.
    t: continuous time in (0, 1] to which they are noised.
    unbiased: see `cka`.

  Raises:
    UsageError: the folder holds no run, or not of a U-ViT.
  """
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    raise UsageError(f"{workdir} has no config.json; expected a trained run")
  config = ConfigDict(json.loads(path.read_text("utf-8")))
  model, process = build_model(config), build_process(config)
  if not isinstance(model, UViT):
    raise UsageError(f"{workdir} is of {config.model.name}; expected a U-ViT")
  if not isinstance(process, VariancePreserving):
    raise UsageError(
      f"{workdir} has the process {config.process.name}; expected one with a "
      "continuous time, as vp"
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


def draw(matrices: dict[str, np.ndarray], path: str) -> None:
  """Saves heat maps side by side."""
  figure = Figure(figsize=(4 * len(matrices), 4), layout="constrained")
  axes = figure.subplots(1, len(matrices), squeeze=False)[0]
  for axis, (name, matrix) in zip(axes, matrices.items(), strict=True):
    shown = axis.imshow(matrix, vmin=0, vmax=1, origin="lower")
    axis.set(title=name, xlabel="block", ylabel="block")
  figure.colorbar(shown, ax=axes, label="linear CKA")
  figure.savefig(path)


def main() -> None:
  """See the module."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("workdir", nargs="+", help="folder of a trained run")
  parser.add_argument("--images", type=int, default=256)
  parser.add_argument("--time", type=float, default=0.5)
  parser.add_argument("--unbiased", action="store_true")
  parser.add_argument("--figure", default="uvit_cka.png")
  args = parser.parse_args()
  matrices = {}
  for workdir in args.workdir:
    try:
      matrix = analyse(workdir, args.images, args.time, args.unbiased)
    except UsageError as error:
      parser.error(str(error))
    matrices[workdir] = matrix
    print(f"{workdir}, {args.images} images, t = {args.time}")
    print(np.array2string(matrix, precision=2, max_line_width=120))
    print(f"neighbours: {np.diag(matrix, 1).mean():.3f} on average\n")
  draw(matrices, args.figure)
  print(f"drawn in {args.figure}")


if __name__ == "__main__":
  main()

"""Improved precision and recall (Kynkaanniemi et al. 2019).

A set's manifold is the union of balls round its points, each reaching to the
k-th neighbour. Precision is the share of samples inside the real manifold,
recall the share of real images inside the samples'. Distances are made tile by
tile, so memory does not grow with the number of pairs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.errors import UsageError

# ADM decides the number format block by block, for blocks of this side.
_ADM_TILE = 10_000
_TILE = 4096
# Squared distances below this share of the squared norms are rounding: the
# two rows are equal.
_ROUNDING = 2.0**-20


def precision_recall(
  samples, reference, neighbours: int = 3, half_precision: bool = False
) -> tuple[float, float]:
  """Precision and recall of samples against real images.

  Args:
    samples: (N, D) features of the samples.
    reference: (M, D) features of real images (ADM: 10,000).
    neighbours: k; every set needs more than k rows.
    half_precision: Distances in float16 wherever a block of 10,000 x 10,000
      stays finite in it, as ADM's evaluator takes them. It moves the values
      by some 0.002, and by much more where features are large.

  Returns:
    Precision and recall, shares in [0, 1].

  Raises:
    UsageError: Too few rows, differing widths, NaN or infinite features.
  """
  samples, reference = (np.asarray(x, np.float32) for x in (samples, reference))
  _check(samples, reference, neighbours)
  if not half_precision:
    # Distances do not mind a shift, and cancel less without the mean.
    centre = reference.mean(axis=0, dtype=np.float64).astype(np.float32)
    samples, reference = samples - centre, reference - centre
  size = _ADM_TILE if half_precision else _TILE
  samples, reference = _tiles(samples, size), _tiles(reference, size)
  sample_radii = _radii(samples, neighbours, half_precision)
  reference_radii = _radii(reference, neighbours, half_precision)

  real = np.zeros(0, bool)
  covered = [False] * len(reference)
  for rows, row_radii in zip(samples, sample_radii, strict=True):
    inside = False
    for i, (columns, column_radii) in enumerate(
      zip(reference, reference_radii, strict=True)
    ):
      in_real, in_fake = _inside(
        rows, columns, row_radii, column_radii, half_precision
      )
      inside = inside | np.asarray(in_real)
      covered[i] = covered[i] | np.asarray(in_fake)
    real = np.concatenate([real, inside])
  return float(real.mean()), float(np.concatenate(covered).mean())


def squared_radii(
  rows, neighbours: int = 3, half_precision: bool = False
) -> np.ndarray:
  """Squared distance of every row to its k-th neighbour, itself not counted.

  Args:
    rows: (N, D) features.
    neighbours: k < N.
    half_precision: As in `precision_recall`.

  Returns:
    (N,) float32.
  """
  rows = np.asarray(rows, np.float32)
  _check(rows, rows, neighbours)
  if not half_precision:
    rows = rows - rows.mean(axis=0)
  tiles = _tiles(rows, _ADM_TILE if half_precision else _TILE)
  return np.concatenate(_radii(tiles, neighbours, half_precision))


def _check(samples, reference, neighbours):
  if samples.shape[1:] != reference.shape[1:] or samples.ndim != 2:
    raise UsageError(
      f"precision and recall got features of shapes {samples.shape} and "
      f"{reference.shape}, expected (N, D) and (M, D)"
    )
  for rows, whose in ((samples, "samples"), (reference, "reference")):
    if len(rows) <= neighbours:
      raise UsageError(
        f"precision and recall with {neighbours} neighbours need at least "
        f"{neighbours + 1} images, found {len(rows)} in the {whose}"
      )
    if not np.isfinite(rows).all():
      raise UsageError(
        f"features of the {whose} hold NaN or infinite values, expected "
        "finite ones"
      )


def _tiles(rows, size):
  return [jnp.asarray(rows[i : i + size]) for i in range(0, len(rows), size)]


def _radii(tiles, neighbours, half):
  return [
    functools.reduce(
      lambda best, columns, rows=rows: _nearest(
        best, rows, columns, neighbours + 1, half
      ),
      tiles,
      jnp.full((len(rows), neighbours + 1), jnp.inf),
    )[:, -1]
    for rows in tiles
  ]


@functools.partial(jax.jit, static_argnames=("count", "half"))
def _nearest(best, rows, columns, count, half):
  found = jnp.concatenate([best, _distances(rows, columns, half)], axis=1)
  return -jax.lax.top_k(-found, count)[0]


@functools.partial(jax.jit, static_argnames="half")
def _inside(rows, columns, row_radii, column_radii, half):
  distances = _distances(rows, columns, half)
  return (
    jnp.any(distances <= column_radii, axis=1),
    jnp.any(distances <= row_radii[:, None], axis=0),
  )


def _distances(rows, columns, half):
  """Squared distances (B, C) in float32."""
  exact = _expand(rows, columns)
  if not half:
    scale = jnp.sum(rows**2, 1)[:, None] + jnp.sum(columns**2, 1)
    return jnp.where(exact <= _ROUNDING * scale, 0, exact)
  coarse = _expand(rows.astype(jnp.float16), columns.astype(jnp.float16))
  return jnp.where(jnp.isfinite(coarse).all(), coarse, exact)


def _expand(rows, columns):
  norms = jnp.sum(rows**2, 1)[:, None], jnp.sum(columns**2, 1)
  products = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)
  return jnp.maximum(norms[0] - 2 * products + norms[1], 0)

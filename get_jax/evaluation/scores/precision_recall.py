"""Improved precision and recall (Kynkaanniemi et al. 2019).

The manifold of a set is the union of balls around its points; the radius of a
ball is the distance to the k-th nearest neighbour. Precision is the fraction
of samples inside the manifold of the real images, recall the fraction of real
images inside that of the samples. Distances are computed tile by tile, so
memory does not grow with the number of pairs.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from get_jax.errors import UsageError

# ADM chooses the number format for each block of distances of this size.
_ADM_TILE = 10_000
_TILE = 4096
# Squared distances below this fraction of the squared norms are rounding
# errors: the two rows are equal.
_ROUNDING = 2.0**-20


def precision_recall(
  samples: Float[np.ndarray, "N D"],
  reference: Float[np.ndarray, "M D"],
  neighbours: int = 3,
  half_precision: bool = False,
) -> tuple[float, float]:
  """Computes precision and recall of samples against real images.

  Args:
    samples: (N, D) features of the samples.
    reference: (M, D) features of real images (ADM: 10,000).
    neighbours: k; every set needs more than k rows.
    half_precision: Compute distances in float16 wherever a block of
      10,000 x 10,000 stays finite in it, as ADM's evaluator does. It changes
      the values by some 0.002, and by much more where features are large.

  Returns:
    Precision and recall, fractions in [0, 1].

  Raises:
    UsageError: Too few rows, different numbers of features, NaN or infinite
      features.
  """
  samples, reference = (np.asarray(x, np.float32) for x in (samples, reference))
  _check(samples, reference, neighbours)
  if not half_precision:
    # A shift does not change distances; without the mean, less cancels.
    centre = reference.mean(axis=0, dtype=np.float64).astype(np.float32)
    samples, reference = samples - centre, reference - centre
  size = _ADM_TILE if half_precision else _TILE
  sample_tiles, reference_tiles = _tiles(samples, size), _tiles(reference, size)
  sample_radii = _radii(sample_tiles, neighbours, half_precision)
  reference_radii = _radii(reference_tiles, neighbours, half_precision)

  real = []  # per tile of samples: whether each is in the real manifold
  covered = [np.zeros(len(tile), bool) for tile in reference_tiles]
  for rows, row_radii in zip(sample_tiles, sample_radii, strict=True):
    inside = np.zeros(len(rows), bool)
    for i, (columns, column_radii) in enumerate(
      zip(reference_tiles, reference_radii, strict=True)
    ):
      rows_inside, columns_inside = _inside(
        rows, columns, row_radii, column_radii, half_precision
      )
      inside = inside | np.asarray(rows_inside)
      covered[i] = covered[i] | np.asarray(columns_inside)
    real.append(inside)
  return (
    float(np.concatenate(real).mean()),
    float(np.concatenate(covered).mean()),
  )


def squared_radii(
  rows: Float[np.ndarray, "N D"],
  neighbours: int = 3,
  half_precision: bool = False,
) -> Float32[np.ndarray, " N"]:
  """Returns the squared distance of every row to its k-th neighbour.

  Args:
    rows: (N, D) features.
    neighbours: k < N; a row is no neighbour of itself.
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


def _check(samples: np.ndarray, reference: np.ndarray, neighbours: int) -> None:
  if samples.shape[1:] != reference.shape[1:] or samples.ndim != 2:
    raise UsageError(
      f"precision and recall got features of shapes {samples.shape} and "
      f"{reference.shape}, expected (N, D) and (M, D)"
    )
  for rows, name in ((samples, "samples"), (reference, "reference")):
    if len(rows) <= neighbours:
      raise UsageError(
        f"precision and recall with {neighbours} neighbours need at least "
        f"{neighbours + 1} images, found {len(rows)} in the {name}"
      )
    if not np.isfinite(rows).all():
      raise UsageError(
        f"features of the {name} contain NaN or infinite values, expected "
        "finite ones"
      )


def _tiles(rows: np.ndarray, size: int) -> list[Array]:
  return [jnp.asarray(rows[i : i + size]) for i in range(0, len(rows), size)]


def _radii(tiles: Sequence[Array], neighbours: int, half: bool) -> list[Array]:
  radii = []
  for rows in tiles:
    # Every row is its own nearest row, hence one more than the neighbours.
    nearest = jnp.full((len(rows), neighbours + 1), jnp.inf, jnp.float32)
    for columns in tiles:
      nearest = _nearest(nearest, rows, columns, neighbours + 1, half)
    radii.append(nearest[:, -1])
  return radii


@functools.partial(jax.jit, static_argnames=("count", "half"))
def _nearest(
  nearest: Float[Array, "B k"],
  rows: Float[Array, "B D"],
  columns: Float[Array, "C D"],
  count: int,
  half: bool,
) -> Float[Array, "B k"]:
  distances = _distances(rows, columns, half)
  candidates = jnp.concatenate([nearest, distances], axis=1)
  return -jax.lax.top_k(-candidates, count)[0]


@functools.partial(jax.jit, static_argnames="half")
def _inside(
  rows: Float[Array, "B D"],
  columns: Float[Array, "C D"],
  row_radii: Float[Array, " B"],
  column_radii: Float[Array, " C"],
  half: bool,
) -> tuple[Bool[Array, " B"], Bool[Array, " C"]]:
  distances = _distances(rows, columns, half)
  return (
    jnp.any(distances <= column_radii[None], axis=1),
    jnp.any(distances <= row_radii[:, None], axis=0),
  )


def _distances(
  rows: Float[Array, "B D"], columns: Float[Array, "C D"], half: bool
) -> Float32[Array, "B C"]:
  """Returns squared distances in float32."""
  exact = _expand(rows, columns)
  if not half:
    scale = jnp.sum(rows**2, 1)[:, None] + jnp.sum(columns**2, 1)[None]
    return jnp.where(exact <= _ROUNDING * scale, 0.0, exact)
  coarse = _expand(rows.astype(jnp.float16), columns.astype(jnp.float16))
  coarse = coarse.astype(jnp.float32)
  return jnp.where(jnp.isfinite(coarse).all(), coarse, exact)


def _expand(rows: Array, columns: Array) -> Array:
  """Computes |x|^2 - 2 x.y + |y|^2 for every row x and column y."""
  norms = jnp.sum(rows**2, 1)[:, None], jnp.sum(columns**2, 1)[None]
  products = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)
  return jnp.maximum(norms[0] - 2 * products + norms[1], 0)

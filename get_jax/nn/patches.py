"""Conversion between images and patches, in row-major order."""

from jaxtyping import Array, Shaped

from get_jax.errors import UsageError


def as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
  """Returns (height, width) from one number or a pair."""
  return (size, size) if isinstance(size, int) else (size[0], size[1])


def patch_grid(
  input_size: int | tuple[int, int], patch_size: int | tuple[int, int]
) -> tuple[int, int]:
  """Returns the rows and columns of patches of an image.

  Raises:
    UsageError: Height or width is not a positive multiple of `patch_size`.
  """
  height, width = as_pair(input_size)
  patch_height, patch_width = as_pair(patch_size)
  if min(height, width) < 1 or height % patch_height or width % patch_width:
    raise UsageError(
      f"the network's input is {height}x{width}; expected positive multiples "
      f"of patch_size={patch_size}"
    )
  return height // patch_height, width // patch_width


def patchify(
  images: Shaped[Array, "B H W C"], patch_size: int | tuple[int, int]
) -> Shaped[Array, "B N PPC"]:
  """Splits images into patches of P*P*C values, with the channel fastest.

  A patch embedding is a Dense layer on these patches: a convolution of kernel
  size and stride P as one matrix product.
  """
  batch, height, width, channels = images.shape
  rows, columns = patch_grid((height, width), patch_size)
  patch_height, patch_width = as_pair(patch_size)
  x = images.reshape(batch, rows, patch_height, columns, patch_width, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, rows * columns, patch_height * patch_width * channels)


def unpatchify(
  patches: Shaped[Array, "B N PPC"],
  grid: tuple[int, int],
  patch_size: int | tuple[int, int],
) -> Shaped[Array, "B H W C"]:
  """Joins patches into images; the inverse of `patchify`.

  Args:
    patches: Patches of P*P*C values.
    grid: Rows and columns of patches.
    patch_size: Side P of a patch, or its height and width.
  """
  rows, columns = grid
  patch_height, patch_width = as_pair(patch_size)
  batch = patches.shape[0]
  x = patches.reshape(batch, rows, columns, patch_height, patch_width, -1)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, rows * patch_height, columns * patch_width, -1)

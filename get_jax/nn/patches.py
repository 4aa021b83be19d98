"""Between images and tokens: patches, row by row."""

from get_jax.errors import UsageError


def as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
  """A height and a width from one number or two."""
  return (size, size) if isinstance(size, int) else (size[0], size[1])


def patch_grid(
  input_size: int | tuple[int, int], patch_size: int | tuple[int, int]
) -> tuple[int, int]:
  """Rows and columns of patches of an image.

  Raises:
    UsageError: height or width is not a positive multiple of `patch_size`.
  """
  height, width = as_pair(input_size)
  down, across = as_pair(patch_size)
  if min(height, width) < 1 or height % down or width % across:
    raise UsageError(
      f"the network's input is {height}x{width}; expected positive multiples "
      f"of patch_size={patch_size}"
    )
  return height // down, width // across


def patchify(images, patch_size: int | tuple[int, int]):
  """(B, H, W, C) images to (B, N, P*P*C) patches, channel fastest.

  A patch embedding is a Dense layer on these patches: the convolution of
  kernel and stride P as one matrix product.
  """
  rows, columns = patch_grid(images.shape[1:3], patch_size)
  down, across = as_pair(patch_size)
  batch, _, _, channels = images.shape
  x = images.reshape(batch, rows, down, columns, across, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, rows * columns, down * across * channels)


def unpatchify(
  patches, grid: tuple[int, int], patch_size: int | tuple[int, int]
):
  """The inverse of `patchify`: (B, N, P*P*C) to (B, H, W, C)."""
  rows, columns = grid
  down, across = as_pair(patch_size)
  x = patches.reshape(patches.shape[0], rows, columns, down, across, -1)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(patches.shape[0], rows * down, columns * across, -1)

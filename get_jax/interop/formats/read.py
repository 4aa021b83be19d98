"""Reads official checkpoints of all supported formats as NumPy arrays."""

import mmap
import os
import pathlib
import struct
import zipfile
from typing import Any

import safetensors
import safetensors.numpy

from get_jax.errors import UsageError
from get_jax.interop.formats import (
  edm_pickle,
  flax_msgpack,
  torch_legacy,
  torch_zip,
)
from get_jax.interop.formats.safe_pickle import (
  RejectedFileError,
  quote,
)
from get_jax.interop.formats.torch_tensors import TORCH_GLOBALS
from get_jax.storage.random_access import open_file

# Exceptions that the readers raise on damaged files.
_DAMAGED_FILE_ERRORS = (
  ValueError,
  TypeError,
  LookupError,
  OverflowError,
  MemoryError,
  AttributeError,
  struct.error,
  zipfile.BadZipFile,
  NotImplementedError,
  safetensors.SafetensorError,
)


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
  """Reads a checkpoint file without executing anything in it.

  The format is detected from the first bytes of the file: `torch.save` of any
  version (.pt, .pth, .bin), safetensors, a network snapshot of EDM (.pkl), or
  MessagePack of Flax (checkpoint_123). Arrays are memory-mapped views of the
  file, so reading takes little memory.

  Args:
    path: the file, on disk or in a bucket.

  Returns:
    The saved object: usually a dict of arrays by official name, or a dict of
    such dicts and other plain data. Arrays are read-only and keep their number
    type (bfloat16 as `ml_dtypes.bfloat16`). An `argparse.Namespace` is returned
    as `types.SimpleNamespace`, a network of EDM as `edm_pickle.ModuleState`.

  Raises:
    UsageError: the file is missing, damaged, in another format, or unsafe.
  """
  try:
    opened = open_file(path)
  except (FileNotFoundError, IsADirectoryError):
    raise UsageError(f"checkpoint file {path} does not exist") from None
  if opened.size == 0:
    raise UsageError(f"checkpoint file {path} is empty")
  local = opened.local_copy()
  with local.open("rb") as file:
    # The arrays keep the mapping open after the file is closed.
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  try:
    return _read(local, mapped)
  except RejectedFileError as error:
    raise UsageError(
      f"checkpoint file {path} is rejected and nothing in it was executed: "
      f"{error}"
    ) from None
  except _DAMAGED_FILE_ERRORS as error:
    raise UsageError(
      f"checkpoint file {path} is damaged or truncated "
      f"({type(error).__name__}: {quote(str(error))})"
    ) from error


def _read(path: pathlib.Path, mapped: mmap.mmap) -> Any:
  data = memoryview(mapped)
  if data[:4] == torch_zip.SIGNATURE:
    return torch_zip.read_torch_zip(data, mapped)
  if data[: len(torch_legacy.SIGNATURE)] == torch_legacy.SIGNATURE:
    return torch_legacy.read_torch_legacy(data, mapped, TORCH_GLOBALS)
  # Tested before pickles: the header length of a safetensors file may begin
  # with the first byte of a pickle.
  if data[8:9] == b"{":
    return safetensors.numpy.load_file(path)
  if data[:1] == b"\x80":
    return edm_pickle.read_edm_pickle(data, mapped)
  if flax_msgpack.begins_like_msgpack(bytes(data[:1])):
    return flax_msgpack.read_flax_msgpack(data)
  raise RejectedFileError(
    f"it begins with {bytes(data[:8])!r}, which is neither a file of "
    "torch.save nor safetensors nor a network snapshot of EDM nor a file of "
    "Flax"
  )

"""Any official checkpoint as NumPy arrays, whatever wrote the file."""

import mmap
import os
import pathlib
import struct
import zipfile
from typing import Any

import safetensors
import safetensors.numpy

from get_jax.errors import UsageError
from get_jax.interop.formats import edm_pickle, torch_legacy, torch_zip
from get_jax.interop.formats import torch_tensors as tensors
from get_jax.interop.formats.safe_pickle import Refusal, shown

# What damaged bytes can raise in the readers.
_DAMAGE = (
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

  The kind of file is told by its first bytes: `torch.save` of any age (.pt,
  .pth, .bin), safetensors, or a network snapshot of EDM (.pkl). Arrays are
  views of the file, so reading costs next to no memory.

  Args:
    path: the file.

  Returns:
    What was saved, usually a dict of arrays by official name, or of such dicts
    and other plain data; arrays are read-only and keep their number type
    (bfloat16 as that of ml_dtypes). An `argparse.Namespace` comes back as
    `types.SimpleNamespace`, a network of EDM as `edm_pickle.Module`.

  Raises:
    UsageError: the file is missing, damaged, of another kind, or hostile.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UsageError(f"there is no checkpoint file {path}")
  if path.stat().st_size == 0:
    raise UsageError(f"the checkpoint file {path} is empty")
  with open(path, "rb") as file:
    # The arrays keep the map alive after the file is closed.
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  try:
    return _read(path, mapped)
  except Refusal as refusal:
    raise UsageError(
      f"the checkpoint file {path} is refused and nothing in it was run: "
      f"{refusal}"
    ) from None
  except _DAMAGE as damage:
    raise UsageError(
      f"the checkpoint file {path} is damaged or cut off "
      f"({type(damage).__name__}: {shown(str(damage))})"
    ) from damage


def _read(path: pathlib.Path, mapped: mmap.mmap) -> Any:
  data = memoryview(mapped)
  if data[:4] == torch_zip.SIGNATURE:
    return torch_zip.read_torch_zip(data, mapped)
  if data[: len(torch_legacy.SIGNATURE)] == torch_legacy.SIGNATURE:
    return torch_legacy.read_torch_legacy(data, mapped, tensors.TORCH)
  # Before pickles: the length of a header can begin with their first byte.
  if data[8:9] == b"{":
    return safetensors.numpy.load_file(path)
  if data[:1] == b"\x80":
    return edm_pickle.read_edm_pickle(data, mapped)
  raise Refusal(
    f"it begins with {bytes(data[:8])!r}, which is neither a file of "
    "torch.save nor safetensors nor a network snapshot of EDM"
  )

"""Discovery and loading of the reference cases.

A case is a file of numbers that the official codes produced. All files are
below one root, `GET_JAX_GOLDEN` in the environment, or `../shared/golden`
beside the repository. Tests find their cases by pattern, so they run on any
root of the same layout; every constant comes from the case's `meta`. A test
without cases, as where the root does not exist, is skipped.

Every file found is recorded in `CLAIMED`; `test_every_file_is_claimed` checks
that no file of the root is left over.
"""

import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import pytest

_DEFAULT_ROOT = pathlib.Path(__file__).parents[3] / "shared" / "golden"
ROOT = pathlib.Path(os.environ.get("GET_JAX_GOLDEN", _DEFAULT_ROOT))

# All files of the root that some test reads.
CLAIMED: set[pathlib.Path] = set()


class Case:
  """One file of reference numbers, read at the first use.

  Attributes:
    path: path of the `.npz` file.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path

  def __str__(self):
    return self.path.relative_to(ROOT).with_suffix("").as_posix()

  @functools.cached_property
  def meta(self) -> dict:
    """The description and the constants of the case."""
    with np.load(self.path, allow_pickle=False) as file:
      return json.loads(str(file["meta"])) if "meta" in file.files else {}

  @functools.cached_property
  def names(self) -> frozenset[str]:
    """The names of the arrays."""
    with np.load(self.path, allow_pickle=False) as file:
      return frozenset(file.files) - {"meta"}

  @functools.cached_property
  def arrays(self) -> dict[str, np.ndarray]:
    """The arrays by name, in the order of the file."""
    with np.load(self.path, allow_pickle=False) as file:
      return {name: file[name] for name in file.files if name != "meta"}

  def under(self, prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays below `prefix/`, by the rest of their name."""
    cut = len(prefix) + 1
    return {
      name[cut:]: array
      for name, array in self.arrays.items()
      if name.startswith(f"{prefix}/")
    }

  def groups(self, prefix: str) -> list[str]:
    """Returns the names NAME of `prefix/NAME/...`, in the order of the file."""
    inner = (name.split("/") for name in self.under(prefix) if "/" in name)
    return list(dict.fromkeys(parts[0] for parts in inner))


def files(pattern: str) -> list[pathlib.Path]:
  """Returns the files of the root that match a pattern, and claims them."""
  found = sorted(path for path in ROOT.glob(pattern) if path.is_file())
  CLAIMED.update(found)
  return found


def find(pattern: str, where: Callable[[Case], bool] | None = None):
  """Returns the cases that match a pattern and a predicate, and claims them.

  Args:
    pattern: pattern of paths below the root, such as "dit/dit_forward_*.npz".
    where: predicate of a `Case`, for kinds that the file name does not show.
  """
  found = [Case(path) for path in sorted(ROOT.glob(pattern))]
  found = [case for case in found if where is None or where(case)]
  CLAIMED.update(case.path for case in found)
  return found


def cases(
  pattern: str, where: Callable[[Case], bool] | None = None
) -> pytest.MarkDecorator:
  """Parametrizes a test by `case`, see `find`."""
  return pytest.mark.parametrize("case", find(pattern, where), ids=str)


def each(
  pattern: str,
  names: Callable[[Case], Iterable[str]],
  where: Callable[[Case], bool] | None = None,
) -> pytest.MarkDecorator:
  """Parametrizes a test by `case` and `name`.

  Args:
    pattern: see `find`.
    names: a function of a case that returns the names of its parts.
    where: see `find`.
  """
  pairs = [
    pytest.param(case, name, id=f"{case}-{name}")
    for case in find(pattern, where)
    for name in names(case)
  ]
  return pytest.mark.parametrize(("case", "name"), pairs)

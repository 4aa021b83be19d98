"""Settings of the whole suite, made before JAX is imported."""

import atexit
import gc
import os
import shutil
import tempfile

from tests.xla_flags import xla_flags

os.environ["JAX_PLATFORMS"] = "cpu"
# Flags of the caller come last, so that they win.
os.environ["XLA_FLAGS"] = f"{xla_flags(8)} {os.environ.get('XLA_FLAGS', '')}"

# Programs that several tests, workers or child processes need are compiled
# once a run. The first process makes the folder, and removes it at its end.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  folder = tempfile.mkdtemp(prefix="get_jax_tests_")
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

from unittest import mock

import jaxtyping
import pytest

from tests import annotations
from tests.fork_server import collect_rarely
from tests.parameter_shapes import keep_parameter_shapes

# In tests, and only there, the annotated types and array shapes of these
# packages are checked in every call.
jaxtyping.install_import_hook(
  ["get_jax.equilibrium", "get_jax.diffusion"],
  f"{annotations.__name__}.check_annotations",
)

# They start first, so that no worker waits for the last file of another.
LONG_FILES = (
  "training/test_families.py",
  "configs/test_configs.py",
  "jobs/test_process_groups.py",
  "cli/test_exit.py",
  "modes/test_environment.py",
  "weights/test_packaged.py",
  "modes/test_image_shapes.py",
  "notebooks/test_notebooks.py",
  "training/test_precision.py",
  "jobs/test_initial_params.py",
  "docs/test_tutorial.py",
  "faults/test_disturbed_calls.py",
  "buckets/test_bucket_resume.py",
  "golden/test_golden_inception.py",
  "modes/test_modes.py",
  "golden/test_golden_edm_training.py",
  "training/test_resume.py",
  "docs/test_build.py",
)

collect_rarely()
keep_parameter_shapes()


def pytest_collection_modifyitems(items):
  """Sorts the long files to the start."""
  places = {name: place for place, name in enumerate(LONG_FILES)}
  items.sort(
    key=lambda item: places.get("/".join(item.path.parts[-2:]), len(places))
  )


def pytest_collection_finish():
  """The modules that are imported by now stay; the collector skips them."""
  gc.freeze()


pytest_plugins = ("tests.autoencoder_fixture", "tests.cpu_seconds")


@pytest.fixture(scope="module", autouse=True)
def frozen_objects():
  """Keeps what a module leaves, such as compiled programs, from the collector.

  Otherwise its full collections, which the reading of a damaged checkpoint
  needs, take longer with every module.
  """
  yield
  gc.collect()
  gc.freeze()


@pytest.fixture
def unchecked_types():
  """Switches the check of annotations off, for arguments of wrong types."""
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def one_device():
  """Builds meshes of one device, whose programs compile in half of the time.

  It is meant for tests of whole modes that do not depend on the mesh.
  """
  import jax

  from get_jax.builders import mesh

  def make_mesh(sizes, devices=None, num_slices=None):
    return original(sizes, (devices or jax.devices())[:1], num_slices)

  original = mesh.make_mesh
  with mock.patch.object(mesh, "make_mesh", make_mesh):
    yield

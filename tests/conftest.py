"""Settings of the whole suite, made before JAX is imported."""

import atexit
import os
import shutil
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

# Programs that several tests, workers or child processes need are compiled
# once a run. The first process makes the folder, and removes it at its end.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  folder = tempfile.mkdtemp(prefix="get_jax_tests_")
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jaxtyping
import pytest

from tests import annotations

# In tests, and only there, the annotated types and array shapes of these
# packages are checked in every call.
jaxtyping.install_import_hook(
  ["get_jax.equilibrium", "get_jax.diffusion"],
  f"{annotations.__name__}.check_annotations",
)

pytest_plugins = ("tests.autoencoder_fixture",)


@pytest.fixture
def unchecked_types():
  """Switches the check of annotations off, for arguments of wrong types."""
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)

"""Search for settings that make a step fit in memory."""

import types

import pytest

from configs import dit_xl2
from get_jax.aot import fit_search


def config(batch_size, **fields):
  made = dit_xl2.get_config()
  made.batch_size = batch_size
  made.model.update(fields)
  return made


def pod_of(num_devices):
  return types.SimpleNamespace(devices=[None] * num_devices, num_slices=1)


def test_candidates_are_ordered_by_cost():
  found = list(fit_search.candidate_settings(config(64), "train", 16))
  assert found[:4] == [
    {"model.remat": "dots"},
    {"model.remat": "full"},
    {"model.remat": "full", "mesh.data": -1, "mesh.fsdp": 4},
    {"model.remat": "full", "mesh.data": -1, "mesh.fsdp": 16},
  ]
  assert found[-1]["batch_size"] == 16
  assert all(s["mesh.fsdp"] == 16 for s in found[4:])


def test_what_is_set_already_is_no_candidate():
  made = config(16, remat="dots")
  made.mesh.fsdp = 16
  assert list(fit_search.candidate_settings(made, "train", 16)) == [
    {"model.remat": "full"}
  ]


def test_meshes_and_batches_are_those_of_slices():
  found = list(fit_search.candidate_settings(config(64), "train", 32, 8))
  assert {"model.remat": "full", "mesh.data": -1, "mesh.fsdp": 4} in found
  assert not any(settings.get("mesh.fsdp") == 16 for settings in found)
  assert found[-1]["batch_size"] == 32


def test_sampling_has_smaller_batches_only():
  made = config(64)
  made.sampling.batch_size = 32
  assert list(fit_search.candidate_settings(made, "sample", 8)) == [
    {"sampling.batch_size": 16},
    {"sampling.batch_size": 8},
  ]


def test_flags_are_those_of_the_command_line():
  settings = {"model.remat": "full", "mesh.fsdp": 4}
  assert (
    fit_search.format_flags(settings)
    == "--config.model.remat=full --config.mesh.fsdp=4"
  )


@pytest.mark.parametrize("most", [0, 1, 5, 8, 9, 64])
@pytest.mark.parametrize("start", [1, 8, 16])
def test_the_largest_batch_is_found(start, most):
  tried = []

  def fit(batch):
    tried.append(batch)
    return str(batch) if batch <= most else None

  batch, found = fit_search.largest_fit(fit, start)
  powers = [2**i for i in range(8) if 2**i <= most]
  assert batch == (powers[-1] if powers else 0)
  assert found == (str(batch) if batch else None)
  assert len(tried) == len(set(tried))


def fake_compile(monkeypatch, fits):
  """Replaces compiling by `fits`; returns the list of configs it is given."""
  compiled = []

  def compile_report(config, kind, topology):
    compiled.append(config)
    return types.SimpleNamespace(fits=fits(config), config=config)

  monkeypatch.setattr(fit_search, "compile_report", compile_report)
  return compiled


def test_the_first_candidate_that_fits_is_returned(monkeypatch):
  made = config(64)
  compiled = fake_compile(monkeypatch, lambda c: c.mesh.fsdp == 4)
  pod = pod_of(16)
  settings, report = fit_search.find_fitting_settings(made, "train", pod)
  assert settings == {"model.remat": "full", "mesh.data": -1, "mesh.fsdp": 4}
  assert len(compiled) == 3
  assert report.config.model.remat == "full"
  assert made.model.remat == "none" and made.mesh.fsdp == 1


def test_nothing_fits(monkeypatch):
  fake_compile(monkeypatch, lambda c: False)
  pod = pod_of(16)
  assert fit_search.find_fitting_settings(config(16), "train", pod) is None


def test_the_search_goes_over_policies_and_meshes(monkeypatch):
  """The memory model has a sharded state and a share per image."""
  image = {"none": 8, "dots": 2, "full": 1}

  def fits(c):
    batch = c.batch_size // 16
    return 64 // c.mesh.fsdp + batch * image[c.model.remat] <= 32

  compiled = fake_compile(monkeypatch, fits)
  pod = pod_of(16)
  found = fit_search.search_largest_batch(config(64), "train", pod)
  batches = {
    (one.settings["mesh.fsdp"], one.settings["model.remat"]): one.batch
    for one in found
  }
  assert batches == {
    (1, "none"): 0,
    (1, "dots"): 0,
    (1, "full"): 0,
    (4, "none"): 2,
    (4, "dots"): 8,
    (4, "full"): 16,
    (16, "none"): 2,
    (16, "dots"): 8,
    (16, "full"): 16,
  }
  assert all((one.report is None) == (one.batch == 0) for one in found)
  assert len(compiled) < 30


def test_the_search_of_sampling_keeps_its_mesh(monkeypatch):
  fake_compile(monkeypatch, lambda c: c.sampling.batch_size <= 100)
  pod = pod_of(4)
  made = config(64)
  made.sampling.batch_size = 256
  (found,) = fit_search.search_largest_batch(made, "sample", pod)
  assert found.settings == {"mesh.data": -1, "mesh.fsdp": 1}
  assert found.batch == 16

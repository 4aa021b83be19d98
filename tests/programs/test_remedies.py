"""Settings that make a step fit."""

import pytest

from configs import dit_xl2
from get_jax.programs import remedies


def config(batch_size, **fields):
  made = dit_xl2.get_config()
  made.batch_size = batch_size
  made.model.update(fields)
  return made


def test_remedies_come_from_the_least_harm_to_the_most():
  found = list(remedies.remedies(config(64), "train", 16))
  assert found[:4] == [
    {"model.remat": "dots"},
    {"model.remat": "full"},
    {"model.remat": "full", "mesh.data": -1, "mesh.fsdp": 4},
    {"model.remat": "full", "mesh.data": -1, "mesh.fsdp": 16},
  ]
  assert found[-1]["batch_size"] == 16
  assert all(s["mesh.fsdp"] == 16 for s in found[4:])


def test_what_is_set_already_is_no_remedy():
  made = config(16, remat="dots")
  made.mesh.fsdp = 16
  assert list(remedies.remedies(made, "train", 16)) == [{"model.remat": "full"}]


def test_sampling_has_smaller_batches_only():
  made = config(64)
  made.sampling.batch_size = 32
  assert list(remedies.remedies(made, "sample", 8)) == [
    {"sampling.batch_size": 16},
    {"sampling.batch_size": 8},
  ]


def test_flags_are_those_of_the_command_line():
  settings = {"model.remat": "full", "mesh.fsdp": 4}
  assert (
    remedies.flags(settings) == "--config.model.remat=full --config.mesh.fsdp=4"
  )


@pytest.mark.parametrize("most", [0, 1, 5, 8, 9, 64])
@pytest.mark.parametrize("start", [1, 8, 16])
def test_the_largest_batch_is_found(start, most):
  tried = []

  def fit(batch):
    tried.append(batch)
    return str(batch) if batch <= most else None

  batch, found = remedies.largest_fit(fit, start)
  powers = [2**i for i in range(8) if 2**i <= most]
  assert batch == (powers[-1] if powers else 0)
  assert found == (str(batch) if batch else None)
  assert len(tried) == len(set(tried))

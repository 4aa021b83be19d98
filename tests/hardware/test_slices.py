"""Slices of TPUs and of other devices."""

import jax
import pytest

from get_jax.errors import UsageError
from get_jax.hardware.slices import split_into_slices
from tests.hardware.fake_tpu import fake_slice


def test_tpu_slices_are_those_of_the_runtime():
  one, other = fake_slice("v5e:2x2", 0), fake_slice("v5e:2x2", 1)
  mixed = [d for pair in zip(other, one, strict=True) for d in pair]
  for num_slices in (None, 2):
    assert split_into_slices(mixed, num_slices) == [one, other]
  assert split_into_slices(fake_slice("v5e:2x2")) == [fake_slice("v5e:2x2")]
  with pytest.raises(UsageError, match="--num_slices is 4; expected 2, the"):
    split_into_slices(mixed, 4)


def test_other_devices_are_split_in_their_order():
  devices = jax.devices()
  assert split_into_slices(devices) == [devices]
  assert split_into_slices(devices, 2) == [devices[:4], devices[4:]]
  for num_slices in (3, 16):
    with pytest.raises(UsageError, match=f"--num_slices is {num_slices}; .* 8"):
      split_into_slices(devices, num_slices)

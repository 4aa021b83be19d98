"""The table of chips, and unknown names."""

import pytest

from get_jax.errors import UsageError
from get_jax.hardware.chips import CHIPS, DEVICE_KINDS, GIB, device_peak
from get_jax.hardware.topology import find_topology

# Peak in TFLOP/s, memory in GiB as sold and its bandwidth in GB/s: Google's
# and NVIDIA's pages.
SHEETS = {
  "v3": (123, 32, 900),
  "v4": (275, 32, 1228),
  "v5e": (197, 16, 819),
  "v5p": (459, 96, 2765),
  "v6e": (918, 32, 1638),
  "tpu7x": (2307, 192, 7380),
  "h100": (989, 80, 3350),
  "h200": (989, 141, 4800),
}


def test_chips_are_those_of_their_sheets():
  assert set(CHIPS) == set(SHEETS)
  for name, (peak, memory, bandwidth) in SHEETS.items():
    chip = CHIPS[name]
    assert chip.peak_flops == peak * 1e12
    assert chip.memory_bandwidth == bandwidth * 1e9
    unit = GIB if chip.platform == "tpu" else 1e9
    assert 0.95 * memory <= chip.memory / unit <= memory


@pytest.mark.parametrize(
  ("name", "sentence"),
  [
    ("v7x:2x2", r"the chip 'v7x'; expected one of: v3, v4, v5e, v5p"),
    ("v5e", r"--topology=v5e has no grid of v5e; expected v5e:4x4"),
    ("v5e:2x2x2", r"has no grid of v5e"),
    ("v5p:4x4", r"expected v5p:4x4x4"),
    ("v5e:0x4", r"has no grid of v5e"),
    ("v5e:4x4;", r"has no grid of v5e"),
    ("h100:8", r"expected h100:4x4 or other sizes, as hosts x GPUs per host"),
  ],
)
def test_a_wrong_name_is_refused_in_one_sentence(name, sentence):
  with pytest.raises(UsageError, match=sentence):
    find_topology(name)


@pytest.mark.parametrize(("name", "slices"), [("v5e:4x4", 0), ("h100:1x8", 2)])
def test_a_wrong_number_of_slices_is_refused(name, slices):
  with pytest.raises(UsageError, match=f"--num_slices is {slices}"):
    find_topology(name, slices)


def test_peaks_are_those_of_one_device_and_never_guessed():
  assert device_peak("TPU v5 lite") == 197e12
  assert device_peak("TPU7x") == 2307e12 / 2
  assert device_peak("NVIDIA H100 PCIe") is None
  assert set(DEVICE_KINDS.values()) == set(CHIPS)

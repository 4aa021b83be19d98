"""Counts of tensors and numbers in the released files."""

import math

import pytest

from get_jax.interop import name_mapping
from get_jax.interop.families import FAMILIES
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

# Buffers count as tensors; the numbers include NCSN++'s random frequencies.
FILES = {
  "DiT-B/8": (132, 130_869_248 + 12_288),
  "DiffiT-256": (318 + 28, 561_330_144),
  "NCSN++-64": (563, 62_761_091 + 128),
  "ADM-64": (553, 295_899_267),
}


@pytest.mark.parametrize("name", FILES)
def test_released_files(name):
  model = create_model(name)
  family = FAMILIES[type(model)]
  mapping = name_mapping.build_mapping(
    family.rules(model), abstract_params(model)
  )
  tensors = mapping.keys() | family.constants(model).keys()
  numbers = sum(math.prod(entry.shape) for entry in mapping.values())
  assert (len(tensors), numbers) == FILES[name]

"""The released files, told by how many tensors and numbers they hold."""

import math

import pytest

from get_jax.interop import names
from get_jax.interop.families import FAMILIES
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

# Buffers count as tensors; NCSN++'s random frequencies are among the numbers.
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
  found = names.entries(family.rules(model), abstract_params(model))
  tensors = found.keys() | family.constants(model).keys()
  numbers = sum(math.prod(entry.shape) for entry in found.values())
  assert (len(tensors), numbers) == FILES[name]

"""EDM's augmentation against the official code, with its random numbers."""

import jax
import numpy as np
import pytest
from golden_numbers import nhwc, relative

from get_jax.diffusion.augmentation import Augmentation


@pytest.mark.parametrize("case", ["official_p012", "official_p1", "all"])
def test_images_and_labels(golden, case):
  data = golden(f"edm/augment_{case}")
  off = dict.fromkeys(("yflip", "scale", "rotate_frac"), 0.0)
  off |= dict.fromkeys(("xflip", "aniso", "translate_frac"), 0.0)
  augmentation = Augmentation(**{**off, **data.meta["ctor"]})
  count = len(data.arrays["in/images"])
  like = jax.eval_shape(
    lambda: augmentation.sample_parameters(jax.random.key(0), count)
  )
  kinds = {"randn": "f", "rand": "f", "randint": "i"}
  stored = iter(data.meta["draws"])
  numbers = iter(sorted(k for k in data.arrays if k.startswith("in/draw")))
  draws = {}
  for name in augmentation.operations:
    draws[name] = []
    for shape in like[name]:
      assert shape.dtype.kind == kinds[next(stored)]
      value = data.arrays[next(numbers)]
      draws[name].append(value.reshape(shape.shape).astype(shape.dtype))
  images, labels = jax.jit(augmentation.apply)(
    nhwc(data.arrays["in/images"]), draws
  )
  assert augmentation.num_labels == labels.shape[1]
  assert relative(labels, data.arrays["out/labels"]) < 1e-5
  for got, expected in zip(
    images, nhwc(data.arrays["out/images"]), strict=True
  ):
    assert relative(got, expected) < 1e-4
  np.testing.assert_equal(next(stored, None), None)

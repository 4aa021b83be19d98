"""EDM's augmentation against the official code, with its random numbers."""

import jax
from cases import cases
from golden_numbers import nhwc, relative
from tolerances import tolerance

from get_jax.diffusion.augmentation import Augmentation


@cases("edm/augment_*.npz")
def test_images_and_labels(case):
  given = case.under("in")
  off = dict.fromkeys(("yflip", "scale", "rotate_frac"), 0.0)
  off |= dict.fromkeys(("xflip", "aniso", "translate_frac"), 0.0)
  augmentation = Augmentation(**{**off, **case.meta["ctor"]})
  count = len(given["images"])
  like = jax.eval_shape(
    lambda: augmentation.sample_parameters(jax.random.key(0), count)
  )
  kinds = {"randn": "f", "rand": "f", "randint": "i"}
  stored = iter(case.meta["draws"])
  numbers = iter(
    sorted(
      (name for name in given if name.startswith("draw_")),
      key=lambda name: int(name.removeprefix("draw_")),
    )
  )
  parameters = {}
  for name in augmentation.operations:
    parameters[name] = []
    for shape in like[name]:
      assert shape.dtype.kind == kinds[next(stored)]
      value = given[next(numbers)]
      value = value.reshape(shape.shape).astype(shape.dtype)
      parameters[name].append(value)
  assert next(stored, None) is None and next(numbers, None) is None
  images, labels = jax.jit(augmentation.apply)(
    nhwc(given["images"]), parameters
  )
  assert augmentation.num_labels == labels.shape[1]
  limit = tolerance(case, "edm/augment", "labels")
  assert relative(labels, case.arrays["out/labels"]) < limit
  limit = tolerance(case, "edm/augment", "images")
  for got, expected in zip(
    images, nhwc(case.arrays["out/images"]), strict=True
  ):
    assert relative(got, expected) < limit

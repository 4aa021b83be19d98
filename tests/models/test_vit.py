"""The ViT baseline and its conditioning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.counting import model_size

TINY = dict(image_size=(8, 4), hidden_size=16, depth=2, num_heads=2)


@pytest.mark.parametrize("conditioning", ["injection", "adaLN-Zero"])
def test_a_label_changes_its_sample_only(
  conditioning, random_params, fast_compile_jit
):
  model = create_model("ViT", num_classes=3, conditioning=conditioning, **TINY)
  params = random_params(model)
  noise = jax.random.normal(jax.random.key(0), (2, 8, 4, 3))
  call = fast_compile_jit(lambda y: model.apply({"params": params}, noise, y))
  out, other = call(jnp.array([0, 2])), call(jnp.array([1, 2]))
  assert out.shape == (2, 8, 4, 3)
  np.testing.assert_array_equal(out[1], other[1])
  assert np.abs(out[0] - other[0]).max() > 1e-4


def test_sizes_of_table_6():
  # The published counts include the position table.
  sizes = [
    (dict(), 85_271_820),
    (dict(num_classes=10), 85_294_860),
    (dict(num_classes=10, conditioning="adaLN-Zero"), 128_944_908),
  ]
  for fields, count in sizes:
    size = model_size(create_model("ViT-B/2", **fields))
    assert size.params + size.position_table == count


def test_unknown_conditioning():
  model = create_model("ViT", conditioning="film", num_classes=3, **TINY)
  with pytest.raises(
    UsageError, match="expected one of: injection, adaLN-Zero"
  ):
    model_size(model)

"""The network of improved MeanFlow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.adapt import adapt_params, describe_adaptation
from get_jax.models.parameters import abstract_params
from get_jax.nn.rotary import rotate_by_position

TINY = dict(
  image_size=8,
  downsample=1,
  in_channels=1,
  patch_size=2,
  hidden_size=16,
  num_heads=2,
  depth=2,
  head_depth=1,
  num_classes=3,
)
T, Y = jnp.array([0.9, 0.4]), jnp.array([0, 2])
SCALARS = {
  "h": jnp.array([0.5, 0.4]),
  "w": jnp.array([1.0, 4.0]),
  "t_min": jnp.array([0.0, 0.3]),
  "t_max": jnp.array([1.0, 0.7]),
}


def create(**fields):
  return create_model("iMF", **{**TINY, **fields})


def random_params(model):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: 0.3 * rng.standard_normal(leaf.shape, np.float32),
    abstract_params(model),
  )


def test_conditions_and_labels_change_the_output_and_the_time_does_not():
  model = create()
  params = random_params(model)
  x = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))

  @jax.jit
  def net(t, y, scalars):
    return model.apply({"params": params}, x, t, y, **scalars)

  expected = net(T, Y, SCALARS)
  np.testing.assert_array_equal(net(T + 0.05, Y, SCALARS), expected)
  others = [(Y + 1, SCALARS)]
  others += [(Y, SCALARS | {k: v + 0.05}) for k, v in SCALARS.items()]
  for y, scalars in others:
    changes = np.abs(net(T, y, scalars) - expected).max((1, 2, 3))
    assert (changes > 1e-6).all()


def test_rotations_depend_on_distances_alone():
  """The product of two rotated tokens is a function of their distance."""
  rng = np.random.default_rng(0)
  q, k = rng.standard_normal((2, 1, 1, 1, 8), np.float32)
  queries, keys = (np.broadcast_to(a, (1, 12, 1, 8)) for a in (q, k))
  logits = np.einsum(
    "bnkd,bmkd->nm", rotate_by_position(queries), rotate_by_position(keys)
  )
  for distance in range(-5, 6):
    diagonal = np.diagonal(logits, distance)
    np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)
  np.testing.assert_allclose(logits[3, 3], np.sum(q * k), atol=1e-4)
  assert np.ptp(logits[0]) > 0.1


def test_classes_can_be_removed_and_added():
  model, without = create(), create(num_classes=0)
  params = random_params(model)
  removed = adapt_params(params, model, without)
  assert not {"label_embed", "class_tokens"} & removed.keys()
  added = adapt_params(removed, without, model)
  assert jax.tree.map(np.shape, added) == jax.tree.map(np.shape, params)


def test_patches_can_be_resized():
  source, target = create(), create(image_size=16, patch_size=4)
  adapted = adapt_params(
    random_params(source), source, target, resize_patches=True
  )
  assert adapted["u_final"]["linear"]["kernel"].shape == (16, 16)
  changed = describe_adaptation(source, target, resize_patches=True)
  modules = {path.split("/")[0] for path in changed}
  assert modules == {"patch_embed", "u_final", "v_final"}


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(head_depth=3), "head_depth is 3; expected 1 to depth=2"),
    (dict(scalars=("h",)), "which the network embeds"),
    (dict(num_heads=3), "expected a multiple of 2"),
  ],
)
def test_fields_that_do_not_fit(fields, message):
  with pytest.raises(UsageError, match=message):
    abstract_params(create(**fields))

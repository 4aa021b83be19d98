"""Further scalar inputs of the denoisers, such as the length of an interval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.adapt import adapt_params, describe_adaptation
from get_jax.models.counting import model_size
from get_jax.models.parameters import abstract_params, init_params

TRANSFORMER = dict(
  image_size=4,
  downsample=1,
  in_channels=1,
  patch_size=2,
  hidden_size=8,
  depth=2,
  num_heads=2,
  num_classes=3,
)
UNET = dict(
  image_size=4,
  in_channels=1,
  model_channels=8,
  channel_mult=(1,),
  num_blocks=1,
  attn_resolutions=(),
  num_classes=3,
  augment_dim=0,
  dropout=0.0,
)
NETWORKS = {
  "DiT": TRANSFORMER,
  "U-ViT": TRANSFORMER,
  "SongUNet": UNET,
  "DhariwalUNet": UNET,
  "DiffiT-image": dict(
    image_size=4,
    in_channels=1,
    widths=(8,),
    depths=(1,),
    window=2,
    head_dim=4,
    time_features=8,
    time_frequencies=4,
    augment_dim=0,
    num_classes=3,
  ),
}


def create(name, **fields):
  return create_model(name, **NETWORKS[name], **fields)


def random_params(model):
  """Random values, since zero initialisation hides the inputs."""
  leaves, tree = jax.tree.flatten(abstract_params(model))
  rng = np.random.default_rng(0)
  values = [0.3 * rng.standard_normal(leaf.shape) for leaf in leaves]
  return jax.tree.unflatten(tree, [np.float32(x) for x in values])


@pytest.mark.parametrize("name", NETWORKS)
def test_each_scalar_changes_the_output(name):
  model = create(name, scalars=("h", "w"))
  params = random_params(model)
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
  t, y = jnp.array([0.3, 0.7]), jnp.array([0, 2])

  @jax.jit
  def net(h, w):
    return model.apply({"params": params}, x, t, y, w=w, h=h)

  low, high = jnp.array([0.1, 0.1]), jnp.array([0.1, 0.4])
  reference, of_h, of_w = net(low, low), net(high, low), net(low, high)
  for changed in (of_h, of_w):
    np.testing.assert_array_equal(changed[0], reference[0])
    assert np.abs(changed[1] - reference[1]).max() > 1e-6
  assert np.abs(of_h - of_w).max() > 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_scalar_does_not_change_the_network(name):
  plain, model = create(name), create(name, scalars=("h",))
  params = random_params(plain)
  adapted = adapt_params(params, plain, model)
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
  t, y, h = jnp.array([0.3, 0.7]), jnp.array([0, 2]), jnp.array([0.1, 0.4])
  np.testing.assert_allclose(
    jax.jit(model.apply)({"params": adapted}, x, t, y, h=h),
    jax.jit(plain.apply)({"params": params}, x, t, y),
    rtol=1e-5,
    atol=1e-6,
  )
  changed = {path.split("/")[0] for path in describe_adaptation(plain, model)}
  assert changed == {"map_h" if "UNet" in name else "h_embed"}
  with pytest.raises(UsageError, match="h_embed|map_h"):
    adapt_params(adapted, model, plain)


def test_parameters_and_costs_include_the_scalars():
  plain, model = create("DiT"), create("DiT", scalars=("h",))
  params = traverse_util.flatten_dict(init_params(model, jax.random.key(0)))
  assert params[("h_embed", "fc1", "kernel")].shape == (256, 8)
  extra = 256 * 8 + 8 * 8
  assert model_size(model).params - model_size(plain).params == extra + 16
  assert model_size(model).macs - model_size(plain).macs == extra


def test_other_scalars_than_those_of_the_network_are_refused():
  model, x, t = create("DiT"), jnp.zeros((1, 4, 4, 1)), jnp.zeros(1)
  y = jnp.zeros(1, jnp.int32)
  variables = {"params": abstract_params(model)}
  with pytest.raises(UsageError, match=r"called with h; model.scalars is \(\)"):
    jax.eval_shape(lambda v: model.apply(v, x, t, y, h=t), variables)
  model = create("DiT", scalars=("h",))
  variables = {"params": abstract_params(model)}
  with pytest.raises(UsageError, match="called with no scalars; model.scalars"):
    jax.eval_shape(lambda v: model.apply(v, x, t, y), variables)

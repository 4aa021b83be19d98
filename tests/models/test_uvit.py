"""U-ViT: conditioning, long skips, hidden states and shapes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params
from get_jax.models.uvit import SKIPS

TINY = dict(image_size=8, hidden_size=16, depth=4, num_heads=2)
CONDITIONINGS = {
  "none": {},
  "class": dict(num_classes=3, null_class=True),
  "text": dict(context_tokens=5, context_features=7),
}


def tiny(**fields):
  return create_model("U-ViT", **{**TINY, **fields})


def inputs(model):
  x, _, y = model.inputs(2)
  x = jax.random.normal(jax.random.key(0), x.shape)
  if y is not None and y.ndim == 1:
    y = jnp.array([0, 3])
  elif y is not None:
    y = jax.random.normal(jax.random.key(1), y.shape)
  return x, jnp.array([3.0, 900.0]), y


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_conditioning(conditioning, random_params, fast_compile_jit):
  model = tiny(**CONDITIONINGS[conditioning])
  params = random_params(model, 0.3)
  apply = fast_compile_jit(lambda *args: model.apply({"params": params}, *args))
  x, t, y = inputs(model)
  out = apply(x, t, y)
  assert out.shape == x.shape and out.dtype == jnp.float32
  later = apply(x, t.at[0].add(1.0), y)
  assert np.abs(later - out)[0].max() > 1e-5
  np.testing.assert_array_equal(later[1], out[1])
  if y is not None:
    other = apply(x, t, y.at[0].add(1))
    assert np.abs(other - out)[0].max() > 1e-5
    np.testing.assert_array_equal(other[1], out[1])


@pytest.mark.parametrize("scan", [False, True])
def test_hidden_states_of_all_blocks(scan, random_params, fast_compile_jit):
  model = tiny(scan=scan, image_size=(8, 4), **CONDITIONINGS["class"])
  params = random_params(model, 0.3)

  @fast_compile_jit
  def states(x, t, y):
    return model.apply({"params": params}, x, t, y, method="hidden_states")

  found = states(*inputs(model))
  assert found.shape == (5, 2, 2 + 4 * 2, 16)
  assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.pairwise(found))


def test_skips_by_their_sizes():
  size = {
    skip: sum(a.size for a in jax.tree.leaves(abstract_params(tiny(skip=skip))))
    for skip in SKIPS
  }
  assert size["concat"] - size["none"] == 2 * (2 * 16**2 + 16)
  assert size["add"] == size["none"]


def test_initialisation():
  """As PyTorch leaves what the official code does not touch."""
  model = tiny(hidden_size=256, num_classes=100, in_channels=4)
  spread = {
    "patch_embed/kernel": 1 / np.sqrt(3 * 16),
    "patch_embed/bias": 1 / np.sqrt(3 * 16),
    "pos_embed": 0.02,
    "label_embed/table/embedding": 1.0,
    "mid_block/attn/qkv/kernel": 0.02,
    "out_blocks_0/skip_linear/kernel": 0.02,
    "out_blocks_1/mlp/fc2/kernel": 0.02,
    "decoder/kernel": 0.02,
    "decoder/bias": 0.0,
    "conv/kernel": 1 / np.sqrt(3 * 36),
    "conv/bias": 1 / np.sqrt(3 * 36),
  }

  @jax.jit
  def init(key, inputs):
    params = flatten_dict(model.init(key, *inputs)["params"], sep="/")
    return {path: params[path] for path in spread}

  shapes = jax.tree.map(jnp.zeros_like, model.inputs(1))
  for path, leaf in init(jax.random.key(0), shapes).items():
    error = 6 * spread[path] / leaf.size**0.5
    assert leaf.std() == pytest.approx(spread[path], abs=error), path


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(depth=3), "depth is 3; expected an even number"),
    (dict(skip="sum"), "skip is 'sum'; expected one of: concat, add, none"),
    (dict(num_classes=2, context_tokens=3), "expected one of them to be 0"),
    (dict(patch_size=3), "8x8; expected positive multiples of patch_size=3"),
  ],
)
def test_fields_that_do_not_fit(fields, message):
  with pytest.raises(UsageError, match=message):
    abstract_params(tiny(**fields))


@pytest.mark.parametrize("y", [None, np.zeros(2, np.int32)])
def test_missing_text_is_an_error(y):
  model = tiny(**CONDITIONINGS["text"])
  params = abstract_params(model)
  x, t, _ = model.inputs(2)
  with pytest.raises(UsageError, match="expected shape .batch, 5, 7."):
    jax.eval_shape(
      lambda p, x, t: model.apply({"params": p}, x, t, y), params, x, t
    )

"""EDM's networks without reference numbers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params
from get_jax.nn.edm_layers import Init

TINY = dict(
  model_channels=8,
  channel_mult=(1, 2),
  num_blocks=1,
  input_size=(8, 16),
  attn_resolutions=(8,),
  num_classes=3,
)
SONG, ADM = ("SongUNet", TINY), ("DhariwalUNet", {**TINY, "augment_dim": 9})
X = np.random.default_rng(0).standard_normal((2, 8, 16, 3), np.float32)
T = np.array([-0.4, 0.2], np.float32)
AUGMENTED = np.eye(9, dtype=np.float32)[:2]
PLAIN = 0 * AUGMENTED


@pytest.fixture(scope="module")
def calls(fast_compile_jit):
  """`calls(model, params)`: a jitted forward pass, compiled once.

  Its arguments are labels and augmentation labels.
  """

  @functools.cache
  def compiled(model):
    return fast_compile_jit(
      lambda params, y, augment_labels: model.apply(
        {"params": params}, X, T, y, augment_labels=augment_labels
      )
    )

  return lambda model, params: functools.partial(compiled(model), params)


def labels(*y):
  return np.array(y, np.int32)


@pytest.mark.parametrize("name, fields", [SONG, ADM])
def test_conditioning(name, fields, random_params, calls):
  model = create_model(name, null_class=True, **fields)
  call = calls(model, random_params(model, scale=0.3))
  plain = call(labels(0, 1), PLAIN)
  assert plain.shape == X.shape and plain.dtype == jnp.float32
  other = call(labels(0, 2), PLAIN)
  np.testing.assert_allclose(other[0], plain[0], rtol=1e-4, atol=1e-5)
  assert np.abs(other[1] - plain[1]).max() > 1e-3
  augmented = call(labels(0, 1), AUGMENTED)
  assert np.abs(augmented - plain).max() > 1e-3
  # The null class has no parameters: its one-hot vector is zero.
  null = call(labels(3, 3), PLAIN)
  none = call(None, None)
  np.testing.assert_allclose(null, none, rtol=1e-5, atol=1e-6)


def test_remat_changes_nothing(random_params, fast_compile_jit):
  model = create_model("SongUNet", **{**TINY, "channel_mult": (1,)})
  params = random_params(model)
  results = []
  for remat in ("none", "dots"):
    other = model.clone(remat=remat)
    same = jax.tree.structure(abstract_params(other))
    assert same == jax.tree.structure(params)

    def loss(params, other=other):
      out = other.apply({"params": params}, X, T, labels(0, 1))
      return (out**2).sum()

    results.append(fast_compile_jit(jax.value_and_grad(loss))(params))
  for ours, theirs in zip(*map(jax.tree.leaves, results), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_dropout_in_training(random_params, fast_compile_jit):
  model = create_model("SongUNet", **{**TINY, "dropout": 0.5})
  params = random_params(model)

  @fast_compile_jit
  def drop(key):
    rngs, y = {"dropout": key}, labels(0, 1)
    return model.apply({"params": params}, X, T, y, train=True, rngs=rngs)

  first, second = (drop(jax.random.key(i)) for i in (1, 2))
  assert np.abs(first - second).max() > 1e-3
  np.testing.assert_array_equal(first, drop(jax.random.key(1)))


def test_time_dependent_attention(random_params, calls):
  model = create_model("SongUNet", tmsa=True, **TINY)
  params = random_params(model)
  block = params["dec_4x8_in0"]
  assert block["time_qkv"]["kernel"].shape == (32, 48)
  assert block["position_bias"].shape == (7 * 15, 1)
  out = calls(model, params)(labels(0, 1), None)
  assert np.isfinite(out).all()
  # DiffiT's Table 5 replaces the attention of DDPM++ only.
  plain = abstract_params(create_model("DDPM++-32"))
  ours = abstract_params(create_model("DDPM++-32", tmsa=True))
  with_attention = [k for k, v in plain.items() if "qkv" in v]
  added = 512 * 768 + 768 + np.array([31**2, 15**2])
  new = sum(a.size for a in jax.tree.leaves(ours))
  old = sum(a.size for a in jax.tree.leaves(plain))
  low = sum("8x8" in k for k in with_attention)
  assert new - old == (len(with_attention) - low) * added[0] + low * added[1]


def test_half_precision_is_close(random_params, calls):
  model = create_model("SongUNet", null_class=True, **TINY)
  params, y = random_params(model), labels(0, 1)
  exact = calls(model, params)(y, PLAIN)
  half = model.clone(dtype=jnp.bfloat16)
  rough = calls(half, params)(y, PLAIN)
  assert rough.dtype == jnp.float32
  gap = np.linalg.norm(rough - exact) / np.linalg.norm(exact)
  assert 0 < gap < 0.05


@pytest.mark.parametrize(
  "mode, weight, bias, limit",
  [
    ("xavier_uniform", 1.0, 0.0, math.sqrt(6 / (72 + 144))),
    ("xavier_uniform", 1e-5, 0.0, 1e-5 * math.sqrt(6 / (72 + 144))),
    ("kaiming_uniform", math.sqrt(1 / 3), math.sqrt(1 / 3), math.sqrt(1 / 72)),
    ("kaiming_normal", 2.0, 0.0, None),
  ],
)
def test_initialisation_of_layers(mode, weight, bias, limit):
  init = Init(mode, weight, bias)
  key = jax.random.key(0)
  kernel = init.initializer(init.weight, 72, 144)(key, (3, 3, 8, 16))
  offset = init.initializer(init.bias, 72, 144)(key, (1000,))
  if limit is None:
    assert np.std(kernel) == pytest.approx(2 / math.sqrt(72), rel=0.1)
  else:
    assert 0.97 * limit < np.abs(kernel).max() <= limit
  assert np.any(offset) == (bias > 0)
  if bias:
    assert 0.97 * limit < np.abs(offset).max() <= limit


@pytest.mark.parametrize(
  "fields, sentence",
  [
    ({"input_size": 9}, "input_size is 9x9; expected multiples of 2"),
    ({"encoder_type": "unet"}, "encoder_type is 'unet'; expected one of"),
    ({"remat": "all"}, "remat is 'all'; expected one of: none, full"),
  ],
)
def test_fields_that_do_not_fit(fields, sentence):
  with pytest.raises(UsageError, match=sentence):
    abstract_params(create_model("SongUNet", **{**TINY, **fields}))

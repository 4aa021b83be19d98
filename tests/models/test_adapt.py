"""Parameters for other input sizes and numbers of classes."""

import math

import jax
import numpy as np
import pytest
from flax import traverse_util

from get_jax.models import create_model
from get_jax.models.adapt import adapt_params, describe_adaptation
from get_jax.models.parameters import abstract_params, init_params
from get_jax.nn.position_embedding import sincos_2d
from get_jax.nn.resampling import resample_grid

BLOCKS = dict(patch_size=2, hidden_size=16, num_heads=2, downsample=1)
DIT = dict(
  name="DiT", **BLOCKS, image_size=8, depth=1, num_classes=10, in_channels=1
)
UVIT = dict(name="U-ViT", **BLOCKS, image_size=8, depth=2)
UNET = dict(
  image_size=8,
  downsample=1,
  model_channels=8,
  channel_mult=(1,),
  num_blocks=1,
  attn_resolutions=(8,),
)
NETWORKS = {
  "DiT": DIT,
  "U-ViT": {**UVIT, "num_classes": 10, "null_class": True},
  "U-ViT, text": {**UVIT, "context_tokens": 3, "context_features": 8},
  "DiffiT": {**DIT, "name": "DiffiT", "image_size": (4, 8)},
  "DiffiT, position-bias": {**DIT, "name": "DiffiT", "time": "position-bias"},
  "DiffiT-image": dict(
    name="DiffiT-image",
    image_size=8,
    widths=(8, 16),
    depths=(1, 1),
    window=4,
    head_dim=8,
  ),
  "ViT": dict(name="ViT", **BLOCKS, image_size=8, depth=1, num_classes=10),
  "GET": dict(
    name="GET",
    **BLOCKS,
    image_size=8,
    injection_depth=1,
    equilibrium_depth=1,
    num_classes=10,
  ),
  "SongUNet": dict(name="SongUNet", **UNET, num_classes=10, tmsa=True),
  "DhariwalUNet": dict(
    name="DhariwalUNet",
    **UNET,
    num_classes=10,
    channels_per_head=8,
  ),
}
LEAVES = ("kernel", "bias")


def flat(params):
  paths = traverse_util.flatten_dict(params)
  return {"/".join(path): np.asarray(leaf) for path, leaf in paths.items()}


def shapes(params):
  return {path: leaf.shape for path, leaf in flat(params).items()}


def model_of(fields, **changes):
  return create_model(**{**fields, **changes})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_network_gets_the_same_bits(name, random_params):
  model = model_of(NETWORKS[name])
  params = random_params(model)
  adapted = adapt_params(params, model, model)
  jax.tree.map(np.testing.assert_array_equal, adapted, params)
  assert jax.tree.structure(adapted) == jax.tree.structure(params)
  assert describe_adaptation(model, model) == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_another_size_runs_and_keeps_what_it_can(
  name, random_params, fast_compile_jit
):
  source = model_of(NETWORKS[name])
  target = model_of(NETWORKS[name], image_size=(8, 16))
  params = random_params(source)
  adapted = adapt_params(params, source, target)
  expected = jax.tree.map(lambda x: x.shape, abstract_params(target))
  assert jax.tree.map(lambda x: x.shape, adapted) == expected
  changes = describe_adaptation(source, target)
  renamed = {path: path.replace("8x16", "8x8") for path in flat(adapted)}
  for path, leaf in flat(adapted).items():
    if path not in changes:
      np.testing.assert_array_equal(leaf, flat(params)[renamed[path]])
  inputs = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), target.inputs(2))
  out = fast_compile_jit(target.apply)({"params": adapted}, *inputs)
  assert out.shape[:3] == (2, *target.input_size)
  assert np.isfinite(out).all()


def test_sincos_positions_are_recomputed(random_params):
  source, target = model_of(DIT), model_of(DIT, image_size=(8, 16))
  adapted = adapt_params(random_params(source), source, target)
  np.testing.assert_array_equal(
    adapted["positions"]["pos_table"], sincos_2d((4, 8), 16)
  )
  assert describe_adaptation(source, target) == {
    "positions/pos_table": "recomputed, 4x4 -> 4x8"
  }


@pytest.mark.parametrize("name", ("U-ViT", "U-ViT, text"))
def test_learned_positions_are_resampled_and_other_tokens_kept(
  name, random_params
):
  source = model_of(NETWORKS[name])
  target = model_of(NETWORKS[name], image_size=(16, 8))
  params = random_params(source)
  given = params["pos_embed"]
  for method in ("bicubic", "bilinear_corners"):
    adapted = adapt_params(params, source, target, positions=method)
    found = adapted["pos_embed"]
    extra = len(given) - 16
    assert extra == {"U-ViT": 2, "U-ViT, text": 4}[name]
    np.testing.assert_array_equal(found[:extra], given[:extra])
    expected = resample_grid(given[extra:].reshape(4, 4, 16), (8, 4), method)
    np.testing.assert_array_equal(found[extra:], expected.reshape(32, 16))


def test_positions_of_tokens_follow_their_names(random_params):
  source = model_of(UVIT)
  target = model_of(UVIT, num_classes=4)
  params = random_params(source)
  found = adapt_params(params, source, target)["pos_embed"]
  # The label comes before the time.
  np.testing.assert_array_equal(found[1:], params["pos_embed"])
  fresh = init_params(target, jax.random.key(0))["pos_embed"]
  np.testing.assert_array_equal(found[0], fresh[0])
  back = adapt_params(
    adapt_params(params, source, target), target, model_of(UVIT)
  )
  jax.tree.map(np.testing.assert_array_equal, back, params)


def test_offsets_of_diffit_are_resampled(random_params):
  source = model_of(NETWORKS["DiffiT"])
  target = model_of(NETWORKS["DiffiT"], image_size=(8, 16))
  params = random_params(source)
  path = ("blocks_0", "attn", "position_bias")
  given = traverse_util.flatten_dict(params)[path]
  found = traverse_util.flatten_dict(adapt_params(params, source, target))[path]
  expected = resample_grid(given.reshape(3, 7, 2), (7, 15))
  np.testing.assert_array_equal(found, expected.reshape(105, 2))
  # The offset of a token to itself stays in the middle.
  peak = np.zeros((3, 7, 1))
  peak[1, 3] = 1.0
  middle = resample_grid(peak, (7, 15))
  assert np.unravel_index(middle.argmax(), middle.shape) == (3, 7, 0)


def test_time_dependent_offsets_are_resampled_alike(random_params):
  """The sum of table and shift is resampled, in all parameters alike."""
  fields = NETWORKS["DiffiT, position-bias"]
  source, target = model_of(fields), model_of(fields, image_size=(4, 12))
  params = random_params(source)
  adapted = adapt_params(params, source, target)
  time = np.random.default_rng(1).standard_normal(16).astype(np.float32)

  def table(params):
    layer = params["blocks_0"]["attn"]
    shift = time @ layer["time_bias"]["kernel"] + layer["time_bias"]["bias"]
    return layer["position_bias"] + shift.reshape(-1, 2)

  expected = resample_grid(table(params).reshape(7, 7, 2), (3, 11))
  np.testing.assert_allclose(
    table(adapted), expected.reshape(33, 2), rtol=0, atol=1e-5
  )


def test_windows_that_keep_their_size_are_kept(random_params):
  fields = NETWORKS["DiffiT-image"]
  source, target = model_of(fields), model_of(fields, image_size=(8, 16))
  params = random_params(source)
  assert describe_adaptation(source, target) == {}
  adapted = adapt_params(params, source, target)
  jax.tree.map(np.testing.assert_array_equal, adapted, params)
  smaller = model_of(fields, image_size=(8, 4))
  assert describe_adaptation(source, smaller) == {
    "encoder_1/blocks_0/block/attn/position_bias": "bicubic, 4x4 -> 4x2"
  }


@pytest.mark.parametrize(
  "name", ("DiT", "U-ViT", "ViT", "GET", "SongUNet", "DhariwalUNet")
)
def test_named_classes_are_kept(name, random_params, fast_compile_jit):
  """Class i of the target gives what its class of the source gave."""
  source = model_of(NETWORKS[name])
  target = model_of(NETWORKS[name], num_classes=4)
  params = random_params(source)
  classes = (3, 1, 4, 1)
  adapted = adapt_params(params, source, target, classes=classes)
  run, run_target = map(fast_compile_jit, (source.apply, target.apply))
  x, *rest = source.inputs(4)
  inputs = np.linspace(-1, 1, math.prod(x.shape), dtype=np.float32)
  inputs = inputs.reshape(x.shape)
  given = [np.full(t.shape, 0.3, np.float32) for t in rest[:-1]]
  before = run({"params": params}, inputs, *given, np.int32(classes))
  after = run_target(
    {"params": adapted}, inputs, *given, np.arange(4, dtype=np.int32)
  )
  np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
  if getattr(source, "null_class", False):
    old = run({"params": params}, inputs, *given, np.full(4, 10, np.int32))
    new = run_target(
      {"params": adapted}, inputs, *given, np.full(4, 4, np.int32)
    )
    np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)


def test_unnamed_classes_start_fresh(random_params):
  source, target = model_of(DIT), model_of(DIT, num_classes=4)
  params, key = random_params(source), jax.random.key(5)

  def table(**options):
    adapted = adapt_params(params, source, target, key=key, **options)
    return adapted["label_embed"]["table"]["embedding"]

  given = params["label_embed"]["table"]["embedding"]
  fresh = flat(init_params(target, key))["label_embed/table/embedding"]
  np.testing.assert_array_equal(table()[:4], fresh[:4])
  np.testing.assert_array_equal(table()[4], given[10])  # the null class
  mixed = table(classes=(7, -1, 2, -1))
  np.testing.assert_array_equal(mixed[[0, 2, 4]], given[[7, 2, 10]])
  np.testing.assert_array_equal(mixed[[1, 3]], fresh[[1, 3]])
  np.testing.assert_array_equal(table(reset=("label_embed",)), fresh)


@pytest.mark.parametrize("name", ("DiT", "U-ViT", "SongUNet"))
def test_classes_can_be_added_and_removed(name, random_params):
  fields = {**NETWORKS[name], "null_class": False}
  source = model_of(fields)
  params = random_params(source)
  without = model_of(fields, num_classes=0)
  removed = adapt_params(params, source, without)
  assert not any("label" in path for path in shapes(removed))
  added = adapt_params(removed, without, source)
  assert shapes(added) == shapes(params)
  with_null = model_of(fields, null_class=True)
  changes = describe_adaptation(source, with_null)
  assert "a fresh null class" in str(changes) or name == "SongUNet"


@pytest.mark.parametrize("name", ("DiT", "U-ViT", "ViT", "GET"))
def test_resized_patches_keep_the_tokens(name, random_params):
  """The tokens of enlarged patches are those of the patches, and back."""
  fields = {**NETWORKS[name], "in_channels": 3}
  source = model_of(fields)
  target = model_of(fields, image_size=(16, 16), patch_size=4)
  params = random_params(source)
  adapted = adapt_params(params, source, target, resize_patches=True)
  small = np.random.default_rng(0).standard_normal((2, 2, 3))
  large = resample_grid(small, (4, 4))
  kernel, new_kernel = (p["patch_embed"]["kernel"] for p in (params, adapted))
  np.testing.assert_allclose(
    large.reshape(-1) @ new_kernel, small.reshape(-1) @ kernel, atol=1e-5
  )
  layer = ("decoder",) if name == "U-ViT" else ("final_layer", "linear")
  old, new = (
    {leaf: traverse_util.flatten_dict(p)[*layer, leaf] for leaf in LEAVES}
    for p in (params, adapted)
  )
  token = np.random.default_rng(1).standard_normal(16)
  patch = (token @ old["kernel"] + old["bias"]).reshape(2, 2, -1)
  new_patch = (token @ new["kernel"] + new["bias"]).reshape(4, 4, -1)
  np.testing.assert_allclose(
    new_patch, resample_grid(patch, (4, 4)), rtol=0, atol=1e-5
  )
  # Nothing else changes, as the grid of tokens is the same.
  layers = {"patch_embed/kernel", *(f"{'/'.join(layer)}/{x}" for x in LEAVES)}
  changes = describe_adaptation(source, target, resize_patches=True)
  assert changes == dict.fromkeys(layers, "resized, patches 2x2 -> 4x4")


def test_reset_modules_are_those_of_a_fresh_network(random_params):
  source = model_of(DIT)
  target = model_of(DIT, learn_sigma=False)
  params, key = random_params(source), jax.random.key(3)
  adapted = adapt_params(
    params, source, target, reset=("final_layer", "blocks_0/mlp"), key=key
  )
  fresh = init_params(target, key)
  for module in ("final_layer",):
    jax.tree.map(np.testing.assert_array_equal, adapted[module], fresh[module])
  block, fresh_block = adapted["blocks_0"], fresh["blocks_0"]
  jax.tree.map(np.testing.assert_array_equal, block["mlp"], fresh_block["mlp"])
  jax.tree.map(
    np.testing.assert_array_equal, block["attn"], params["blocks_0"]["attn"]
  )


@pytest.mark.parametrize(
  "changes, message",
  (
    (
      dict(learn_sigma=False),
      r"final_layer/linear/bias is \(8,\) there and \(4,\) here; "
      r"final_layer/linear/kernel is \(16, 8\) there and \(16, 4\) here",
    ),
    (dict(patch_size=4), r"patch_embed/kernel is \(4, 16\) there and \(16, 16"),
    (dict(depth=2), r"blocks_1/adaln/bias is missing there and \(96,\) here"),
    (dict(depth=0), r"blocks_0/adaln/bias is \(96,\) there and missing here"),
    (dict(num_heads=4), "has num_heads=2; expected 4, as in model.num_heads"),
  ),
)
def test_what_does_not_fit_is_refused_with_both_shapes(changes, message):
  with pytest.raises(ValueError, match=message):
    describe_adaptation(model_of(DIT), model_of(DIT, **changes))


def test_shapes_that_are_equal_by_chance_are_refused():
  source = model_of(DIT, in_channels=4, learn_sigma=False)
  target = model_of(DIT, patch_size=4, learn_sigma=False)
  with pytest.raises(ValueError, match="has patch_size=2; expected 4"):
    describe_adaptation(source, target)
  describe_adaptation(source, target, reset=("patch_embed", "final_layer"))


@pytest.mark.parametrize(
  "changes, options, message",
  (
    ({}, dict(reset=("final",)), "'final'.* did you mean 'final_layer'"),
    (dict(num_classes=4), dict(classes=(1, 2)), "has 2 entries; expected one"),
    ({"num_classes": 1}, dict(classes=(10,)), "has 10; expected 0 to 9"),
    ({"num_classes": 1}, dict(classes=(-2,)), "has -2; expected 0 to 9"),
    (dict(image_size=16), dict(positions="linear"), "positions is 'linear'"),
  ),
)
def test_invalid_options_are_refused(changes, options, message):
  fields = NETWORKS["U-ViT"]
  if "reset" in options:
    fields = DIT
  with pytest.raises(ValueError, match=message):
    source, target = model_of(fields), model_of(fields, **changes)
    describe_adaptation(source, target, **options)


def test_other_networks_and_other_parameters_are_refused(random_params):
  dit, uvit = model_of(DIT), model_of(UVIT)
  with pytest.raises(ValueError, match="those of a DiT; expected those of a U"):
    describe_adaptation(dit, uvit)
  params = random_params(model_of(DIT, hidden_size=32))
  with pytest.raises(ValueError, match=r"is \(32,\) there and \(16,\) here"):
    adapt_params(params, dit, dit)
  with pytest.raises(ValueError, match="has no classes; expected"):
    describe_adaptation(
      model_of(DIT, num_classes=0), dit, classes=tuple(range(10))
    )

"""Attention maps of every family of networks, and of the text encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.autoencoder import network
from get_jax.equilibrium import Simple
from get_jax.errors import UsageError
from get_jax.models import create_model, dit, imf
from get_jax.models.registry import FAMILIES
from get_jax.nn import attention, unet_block
from get_jax.nn.attention_maps import capture_attention
from get_jax.text import encoder
from get_jax.text.encoder import CLIPTextEncoder

WIDTH = dict(hidden_size=8, num_heads=2, scan=True, remat="full")
LATENT = dict(image_size=32, depth=2, **WIDTH)
PIXELS = dict(image_size=4, **WIDTH)
UNET = dict(
  image_size=4,
  model_channels=8,
  num_blocks=1,
  attn_resolutions=(2,),
  channel_mult=(1, 1),
  augment_dim=0,
)
# A case: name of the network, fields, and the paths of its attention layers.
BLOCKS = ["blocks_0/attn", "blocks_1/attn"]
CASES = {
  "DiT": ("DiT", LATENT, BLOCKS),
  "DiT in-context": ("DiT", dict(LATENT, block="in-context"), BLOCKS),
  "DiT cross-attention": (
    "DiT",
    dict(LATENT, block="cross-attention"),
    ["blocks_0/attn", "blocks_0/cross", "blocks_1/attn", "blocks_1/cross"],
  ),
  "DiffiT": ("DiffiT", LATENT, BLOCKS),
  "DiffiT-image": (
    "DiffiT-image",
    dict(
      image_size=8,
      widths=(8, 8),
      depths=(1, 1),
      head_dim=4,
      time_features=8,
      scan=True,
      remat="full",
    ),
    [
      f"{stage}/blocks_0/block/attn"
      for stage in ("encoder_0", "encoder_1", "decoder_0")
    ],
  ),
  "MF": ("MF", dict(LATENT, block="adaLN"), BLOCKS),
  "iMF": (
    "iMF",
    dict(LATENT, head_depth=1),
    ["blocks_0/attn", "u_blocks_0/attn"],
  ),
  "U-ViT": (
    "U-ViT",
    dict(PIXELS, depth=2),
    ["in_blocks_0/attn", "mid_block/attn", "out_blocks_0/attn"],
  ),
  "ViT": ("ViT", dict(PIXELS, depth=2), BLOCKS),
  "GET": (
    "GET",
    dict(PIXELS, injection_depth=1, equilibrium_depth=2, weight_norm=True),
    ["blocks_0/attn", "equilibrium_blocks_0/attn", "equilibrium_blocks_1/attn"],
  ),
  "SongUNet": (
    "SongUNet",
    UNET,
    ["enc_2x2_block0", "dec_2x2_in0", "dec_2x2_block1"],
  ),
  "SongUNet with TMSA": (
    "SongUNet",
    dict(UNET, tmsa=True),
    ["enc_2x2_block0", "dec_2x2_in0", "dec_2x2_block1"],
  ),
  "DhariwalUNet": (
    "DhariwalUNet",
    dict(UNET, channels_per_head=4),
    ["enc_2x2_block0", "dec_2x2_in0", "dec_2x2_block0", "dec_2x2_block1"],
  ),
}


@pytest.fixture
def attended(monkeypatch):
  """Values and outputs of the calls of attention, in order."""
  calls = []

  def record(function):
    def recording(q, k, v, *args, **kwargs):
      out = function(q, k, v, *args, **kwargs)
      calls.append((v, out))
      return out

    return recording

  recording = record(attention.attend)
  for module in (attention, dit, encoder, imf, unet_block):
    monkeypatch.setattr(module, "attend", recording)
  recording = record(jax.nn.dot_product_attention)
  monkeypatch.setattr(jax.nn, "dot_product_attention", recording)
  return calls


def arguments(model):
  """Inputs of a call for two samples, and its scalars."""
  random = np.random.default_rng(1)

  def fill(a):
    if jnp.issubdtype(a.dtype, jnp.integer):
      return jnp.arange(a.size, dtype=a.dtype).reshape(a.shape)
    return jnp.asarray(random.standard_normal(a.shape, np.float32))

  inputs = [None if a is None else fill(a) for a in model.inputs(2)]
  scalars = model.scalar_inputs(2) if hasattr(model, "scalar_inputs") else {}
  return inputs, jax.tree.map(fill, scalars)


def check(model, params, paths, attended, jit):
  """Checks names, sums and products of all maps of a network."""
  inputs, scalars = arguments(model)
  found = []

  def run(params):
    attended.clear()
    maps = capture_attention(model, params, *inputs, **scalars)
    found[:] = maps
    # The calls between the first and the last belong to the solver's loop.
    equilibrium = [p for p in maps if p.startswith("equilibrium")]
    first = len(maps) - len(equilibrium)
    calls = attended[:first] + attended[len(attended) - len(equilibrium) :]
    assert len(equilibrium) > 0 or len(attended) == len(maps)
    return list(maps.values()), calls

  maps, calls = jit(run)(params)
  assert found == paths
  for path, weights, (values, out) in zip(found, maps, calls, strict=True):
    assert weights.dtype == jnp.float32
    shape = (len(out), out.shape[2], out.shape[1], values.shape[1])
    assert weights.shape == shape, path
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    product = np.einsum("bknm,bmkd->bnkd", weights, values)
    np.testing.assert_allclose(product, out, atol=1e-4, err_msg=path)
    # Otherwise the test says nothing.
    assert np.ptp(weights) > 1e-3, path


def test_every_family_is_tested():
  assert {name for name, *_ in CASES.values()} == set(FAMILIES)


@pytest.mark.parametrize("case", CASES)
def test_maps_are_the_weights_of_the_values(
  case, attended, random_params, fast_compile_jit
):
  name, fields, paths = CASES[case]
  model = create_model(name, **fields)
  params = random_params(model, scale=0.3)
  check(model, params, paths, attended, fast_compile_jit)


def test_text_encoder_and_autoencoder(
  attended, random_params, fast_compile_jit
):
  text = CLIPTextEncoder(
    vocab_size=20,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=5,
  )
  paths = ["blocks_0", "blocks_1"]
  params = random_params(text, scale=0.3)
  check(text, params, paths, attended, fast_compile_jit)
  tokens = jnp.arange(10).reshape(2, 5)
  causal = capture_attention(text, params, tokens)["blocks_1"]
  np.testing.assert_array_equal(np.triu(causal, 1), 0)

  layer = network.Attention(groups=2)
  x = jax.random.normal(jax.random.key(0), (2, 2, 3, 4))
  params = jax.tree.map(lambda a: a + 0.5, layer.init(jax.random.key(1), x))
  attended.clear()
  (weights,) = capture_attention(layer, params["params"], x).values()
  ((values, out),) = attended
  product = np.einsum("bknm,bmkd->bnkd", weights, values)
  np.testing.assert_allclose(product, out, atol=1e-5)


def test_iterations_of_a_get(random_params):
  name, fields, _ = CASES["GET"]
  # The last iterate, not that with the smallest residual.
  model = create_model(name, solver=Simple(), **fields)
  params = random_params(model)
  noise, y = arguments(model)[0]
  z0 = jax.random.normal(jax.random.key(0), (2, *model.state_shape))
  capture = jax.jit(
    functools.partial(capture_attention, model),
    static_argnames=("iterations", "layers"),
  )
  layer = "equilibrium_blocks_0/attn"
  few, many = (
    capture(params, noise, y, z0, iterations=i, layers=(layer,)) for i in (1, 3)
  )
  assert list(few) == [layer]
  assert not np.allclose(few[layer], many[layer], atol=1e-4)


def test_rematerialised_unet(random_params):
  name, fields, paths = CASES["SongUNet"]
  model = create_model(name, remat="full", **fields)
  inputs, _ = arguments(model)
  capture = functools.partial(capture_attention, model)
  maps = jax.eval_shape(capture, random_params(model), *inputs)
  assert set(maps) == set(paths)


def test_half_precision(random_params):
  name, fields, _ = CASES["DiT"]
  models = [create_model(name, dtype=d, **fields) for d in ("bfloat16", None)]
  params = random_params(models[0])
  inputs, _ = arguments(models[0])
  half, full = (capture_attention(m, params, *inputs) for m in models)
  for path, weights in half.items():
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(weights, full[path], atol=0.02)


def test_unknown_layer(random_params):
  name, fields, _ = CASES["DiT"]
  model = create_model(name, **fields)
  inputs, _ = arguments(model)
  with pytest.raises(UsageError, match=r"no attention layer 'blocks_7/attn'; "):
    jax.eval_shape(
      functools.partial(capture_attention, model, layers=["blocks_7/attn"]),
      random_params(model),
      *inputs,
    )


def test_other_calls_are_the_same_program(random_params):
  name, fields, _ = CASES["GET"]
  model = create_model(name, **fields)
  inputs, _ = arguments(model)
  program = jax.make_jaxpr(
    lambda params: model.apply({"params": params}, *inputs)
  )(random_params(model))
  # One softmax for each kind of block: injection and equilibrium.
  assert str(program).count("reduce_max") == 2

"""CLIP's text encoder against reference values of `transformers`."""

import json
import math

import jax
import numpy as np
import pytest
import safetensors.numpy

from get_jax.interop.official import export_official
from get_jax.interop.pretrained import load_text_encoder
from get_jax.models.parameters import abstract_params
from get_jax.text import CLIPTextEncoder

CONFIG = dict(
  vocab_size=24,
  hidden_size=8,
  intermediate_size=12,
  num_attention_heads=2,
  num_hidden_layers=2,
  max_position_embeddings=6,
)
TOKENS = np.array([[22, 3, 17, 5, 23, 23]], np.int32)
# transformers 5.24 and torch 2.13, for CONFIG and the weights below:
#   config = CLIPTextConfig(**CONFIG, bos_token_id=22, eos_token_id=23,
#                           pad_token_id=23)
#   model = CLIPTextModel(config).eval()
#   model.load_state_dict({n.removeprefix("text_model."): torch.tensor(w)
#                          for n, w in weights().items()})
#   model(input_ids=torch.tensor(TOKENS)).last_hidden_state
EXPECTED = [
  [
    -0.953691,
    -1.489078,
    -1.302311,
    -0.10769,
    0.475758,
    0.957155,
    0.577433,
    -0.529949,
  ],
  [
    -0.894213,
    -1.494604,
    -1.36502,
    -0.158892,
    0.467034,
    0.938772,
    0.58127,
    -0.821555,
  ],
  [
    -0.973159,
    -1.436263,
    -0.99431,
    0.029033,
    0.762049,
    0.958279,
    0.549022,
    -0.810349,
  ],
  [
    -1.117872,
    -1.496855,
    -1.207335,
    -0.466926,
    -0.02116,
    0.893757,
    0.585611,
    0.233131,
  ],
  [
    -1.009182,
    -1.550754,
    -1.27017,
    -0.551979,
    -0.419943,
    0.79195,
    0.609429,
    0.277312,
  ],
  [
    -0.645045,
    -1.573947,
    -1.043139,
    0.015526,
    0.333539,
    0.762505,
    0.584495,
    -1.366487,
  ],
]


def weights():
  """Returns standard normal values for each tensor, in the order of names."""
  rng = np.random.RandomState(0)
  model = CLIPTextEncoder(**CONFIG)
  zeros = jax.tree.map(
    lambda x: np.zeros(x.shape, np.float32), abstract_params(model)
  )
  shapes = {n: t.shape for n, t in export_official(model, zeros).items()}
  return {
    name: rng.standard_normal(shapes[name]).astype(np.float32)
    for name in sorted(shapes)
  }


def save(folder, tensors, config):
  folder.mkdir(exist_ok=True)
  (folder / "config.json").write_text(json.dumps(config))
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")
  return folder


def check(folder):
  model, params = load_text_encoder(folder)
  found = jax.jit(model.apply)({"params": params}, TOKENS)
  np.testing.assert_allclose(found[0], EXPECTED, atol=2e-5)


def test_hidden_states_are_those_of_transformers(tmp_path):
  check(save(tmp_path, weights(), CONFIG))


def test_the_text_encoder_of_a_full_clip_is_loaded(tmp_path):
  tensors = weights() | {
    "logit_scale": np.zeros((), np.float32),
    "vision_model.class_embedding": np.zeros(3, np.float32),
    "text_projection.weight": np.zeros((4, 8), np.float32),
    "text_model.embeddings.position_ids": np.arange(6)[None],
  }
  check(save(tmp_path, tensors, {"text_config": CONFIG, "vision_config": {}}))


def test_names_without_prefix(tmp_path):
  bare = {n.removeprefix("text_model."): t for n, t in weights().items()}
  check(save(tmp_path, bare, CONFIG))


def test_published_size():
  params = abstract_params(CLIPTextEncoder())
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  assert count == 123_060_480
  assert len(jax.tree.leaves(params)) == 196


def test_errors(tmp_path):
  with pytest.raises(ValueError, match=r"config\.json does not exist"):
    load_text_encoder(tmp_path)
  (tmp_path / "config.json").write_text(json.dumps(CONFIG))
  with pytest.raises(ValueError, match="holds no weights; expected one of"):
    load_text_encoder(tmp_path)
  save(tmp_path, weights(), CONFIG | {"num_hidden_layers": 3})
  with pytest.raises(ValueError, match="num_hidden_layers"):
    load_text_encoder(tmp_path)
  save(tmp_path, weights(), CONFIG | {"hidden_act": "relu"})
  with pytest.raises(ValueError, match="hidden_act is 'relu'; expected one of"):
    load_text_encoder(tmp_path)

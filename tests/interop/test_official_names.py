"""Import and export of official names, and errors for files that do not fit."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
import safetensors

from get_jax.errors import UsageError
from get_jax.interop import name_mapping
from get_jax.interop.convert import export_checkpoint, import_checkpoint
from get_jax.interop.families import FAMILIES
from get_jax.interop.official import export_official, load_official
from get_jax.interop.state_dict import extract_state_dict
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params
from get_jax.nn.position_embedding import sincos_2d
from tests import torch_writer as tw

TINY = dict(input_size=8, hidden_size=16, num_heads=2, num_classes=3)
DIT = dict(TINY, depth=2)
GET = dict(TINY, injection_depth=1, equilibrium_depth=2)
UVIT = dict(TINY, depth=2, patch_size=4)
SONG = dict(
  input_size=8,
  model_channels=8,
  channel_mult=(1, 2),
  num_blocks=1,
  attn_resolutions=(4,),
)
MODELS = {
  "adaLN-Zero": ("DiT", DIT),
  "adaLN": ("DiT", dict(DIT, block="adaLN", input_size=(4, 8))),
  "in-context": ("DiT", dict(DIT, block="in-context", learn_sigma=False)),
  "cross-attention": ("DiT", dict(DIT, block="cross-attention")),
  "TMSA": ("DiT", dict(DIT, block="TMSA")),
  "DiffiT": ("DiffiT", dict(DIT, input_size=(4, 8))),
  "DiffiT separate": ("DiffiT", dict(DIT, time="separate")),
  "DiffiT position-bias": ("DiffiT", dict(DIT, time="position-bias")),
  "DiffiT mlp": ("DiffiT", dict(DIT, time="mlp")),
  "GET": ("GET", GET),
  "GET weight norm": ("GET", dict(GET, weight_norm=True)),
  "GET unconditional": ("GET", dict(GET, num_classes=0)),
  "ViT": ("ViT", DIT),
  "DDPM++": ("SongUNet", dict(SONG, num_classes=3)),
  "NCSN++": (
    "SongUNet",
    dict(
      SONG,
      embedding_type="fourier",
      encoder_type="residual",
      channel_mult_noise=2,
      resample_filter=(1, 3, 3, 1),
    ),
  ),
  "SongUNet options": (
    "SongUNet",
    dict(SONG, encoder_type="skip", decoder_type="skip", tmsa=True),
  ),
  "ADM": (
    "DhariwalUNet",
    dict(SONG, num_classes=3, channels_per_head=8, learn_sigma=True),
  ),
  "DiffiT-image": (
    "DiffiT-image",
    dict(input_size=8, widths=(32, 64), depths=(1, 1), window=4),
  ),
  "U-ViT": ("U-ViT", dict(UVIT, null_class=True)),
  "U-ViT options": (
    "U-ViT",
    dict(UVIT, skip="add", conv=False, mlp_time_embed=True, qkv_bias=True),
  ),
  "U-ViT text": (
    "U-ViT",
    dict(UVIT, num_classes=0, context_tokens=2, context_features=5),
  ),
  "MF": ("MF", dict(DIT, learn_sigma=False)),
  "iMF": ("iMF", dict(DIT, head_depth=1)),
  "iMF inference": ("iMF", dict(DIT, head_depth=1, v_head=False)),
  "ViT adaLN-Zero": ("ViT", dict(DIT, conditioning="adaLN-Zero")),
}


def model_of(case, **fields):
  name, tiny = MODELS[case]
  return create_model(name, **{**tiny, **fields})


def params_of(model):
  """Returns random parameters without compiling an initializer."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.standard_normal(leaf.shape, np.float32),
    abstract_params(model),
  )


def placeholder_tensors(model):
  """Returns official tensors of the right shapes that take no memory."""
  rules = FAMILIES[type(model)].rules(model)
  mapping = name_mapping.build_mapping(rules, abstract_params(model))
  zero = np.float32(0)
  return {n: np.broadcast_to(zero, e.shape) for n, e in mapping.items()}


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("case", MODELS)
def test_round_trip(case):
  model = model_of(case)
  params = params_of(model)
  tensors = export_official(model, params)
  assert all(t.flags.c_contiguous for t in tensors.values())
  assert_equal(load_official(model, tensors), params)


def test_file_round_trip_and_its_header(tmp_path):
  model = model_of("GET")
  params = params_of(model)
  path = tmp_path / "get.safetensors"
  export_checkpoint(path, model, params, {"config": {"seed": 1}, "step": "7"})
  assert_equal(import_checkpoint(path, model), params)
  with safetensors.safe_open(path, "np") as file:
    header = file.metadata()
  assert header["config"] == '{"seed": 1}'
  assert header["step"] == "7"
  assert header["format"] == "pt"


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("get.pt", "expected \\*.safetensors"),
    ("no/x.safetensors", "no does not exist"),
  ],
)
def test_invalid_export_paths(tmp_path, name, message):
  model = model_of("ViT")
  with pytest.raises(UsageError, match=message):
    export_checkpoint(tmp_path / name, model, params_of(model))


def test_half_precision_is_widened(tmp_path):
  model = model_of("ViT")
  params = jax.tree.map(
    lambda p: np.round(p, 1).astype(np.float16), params_of(model)
  )
  tensors = export_official(model, params)
  halves = {k: tw.tensor(v.astype(np.float16)) for k, v in tensors.items()}
  tw.save_zip(tmp_path / "half.pt", halves)
  read = import_checkpoint(tmp_path / "half.pt", model)
  assert_equal(read, jax.tree.map(np.float32, params))


def torch_tensors(model, params):
  official = export_official(model, params)
  return {name: tw.tensor(value) for name, value in official.items()}


def test_training_checkpoints(tmp_path):
  model = model_of("adaLN-Zero")
  params, path = params_of(model), tmp_path / "f.pt"
  ema = torch_tensors(model, params)
  raw = {name: tw.tensor(np.zeros(1, np.float32)) for name in ema}
  opt = {"state": {0: {"step": tw.tensor(np.float32(1))}}, "param_groups": []}
  args = tw.Call(tw.Name("argparse", "Namespace"), (), {"lr": 1.0})
  parallel = {f"module.{name}": value for name, value in ema.items()}
  compiled = {f"_orig_mod.{name}": value for name, value in parallel.items()}
  for checkpoint in (
    {"model": raw, "ema": ema, "opt": opt, "args": args},
    {"model": ema, "opt": opt},
    {"state_dict": parallel, "epoch": 3},
    {"state_dict": {"ema": compiled, "model": raw}},
    parallel,
  ):
    tw.save_zip(path, checkpoint)
    assert_equal(import_checkpoint(path, model), params)


def test_files_without_weights():
  cyclic = {}
  cyclic["ema"] = cyclic
  for checkpoint in ([1, 2], {}, {"opt": {}}, {"model": 3}, cyclic):
    with pytest.raises(UsageError, match="expected tensors by name"):
      extract_state_dict(checkpoint)


def diffusers_names(tensors, depth):
  """Converts DiT's tensors to the names of diffusers."""
  top = {
    "x_embedder.proj": "pos_embed.proj",
    "final_layer.adaLN_modulation.1": "proj_out_1",
    "final_layer.linear": "proj_out_2",
  }
  repeated = {
    "t_embedder.mlp.0": "timestep_embedder.linear_1",
    "t_embedder.mlp.2": "timestep_embedder.linear_2",
    "y_embedder.embedding_table": "class_embedder.embedding_table",
  }
  block = {
    "adaLN_modulation.1": "norm1.linear",
    "attn.proj": "attn1.to_out.0",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
  }
  out = {}
  for name, tensor in tensors.items():
    module, _, leaf = name.rpartition(".")
    if module in top:
      out[f"{top[module]}.{leaf}"] = tensor
    elif module in repeated:
      for i in range(depth):
        prefix = f"transformer_blocks.{i}.norm1.emb"
        out[f"{prefix}.{repeated[module]}.{leaf}"] = tensor
    elif module.startswith("blocks."):
      _, number, part = module.split(".", 2)
      prefix = f"transformer_blocks.{number}"
      if part == "attn.qkv":
        for key, third in zip("qkv", np.split(tensor, 3), strict=True):
          out[f"{prefix}.attn1.to_{key}.{leaf}"] = third
      else:
        out[f"{prefix}.{block[part]}.{leaf}"] = tensor
  return out


def test_names_of_diffusers():
  model = model_of("adaLN-Zero")
  official = export_official(model, params_of(model))
  official["pos_embed"] = sincos_2d((4, 4), model.hidden_size)[None]
  theirs = diffusers_names(official, model.depth)
  assert "pos_embed" not in theirs
  assert_equal(load_official(model, theirs), load_official(model, official))

  key = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"
  with pytest.raises(UsageError, match="several different t_embedder"):
    load_official(model, {**theirs, key: theirs[key] + 1})
  theirs.pop("transformer_blocks.0.attn1.to_k.weight")
  with pytest.raises(UsageError, match="missing blocks.0.attn.qkv.weight"):
    load_official(model, theirs)


# Changed fields of the config, and the suggestion for a file of the unchanged
# model.
SUGGESTIONS = [
  (
    "adaLN-Zero",
    dict(input_size=16),
    "this file is a 64-pixel model: set model.image_size=64",
  ),
  ("adaLN-Zero", dict(input_size=(4, 8)), "model.image_size=64"),
  ("adaLN-Zero", dict(depth=3), "set model.depth=2"),
  ("adaLN-Zero", dict(num_classes=5), "set model.num_classes=3"),
  ("adaLN-Zero", dict(num_classes=0), "set model.num_classes=3"),
  ("adaLN-Zero", dict(null_class=False), "set model.null_class=True"),
  ("adaLN-Zero", dict(learn_sigma=False), "set model.learn_sigma=True"),
  ("adaLN-Zero", dict(hidden_size=32), "set model.hidden_size=16"),
  ("adaLN-Zero", dict(mlp_ratio=2.0), "set model.mlp_ratio=4.0"),
  ("adaLN-Zero", dict(patch_size=4), "set model.patch_size=2"),
  ("adaLN-Zero", dict(in_channels=3), "set model.in_channels=4"),
  ("adaLN-Zero", dict(block="adaLN"), "set model.block='adaLN-Zero'"),
  ("adaLN-Zero", dict(block="in-context"), "set model.block='adaLN-Zero'"),
  ("DiffiT", dict(num_heads=4), "set model.num_heads=2"),
  ("DiffiT", dict(time="mlp"), "set model.time='mixed'"),
  ("DiffiT separate", dict(input_size=16), "set model.image_size=64"),
  ("TMSA", dict(block="adaLN"), "this file is a DiffiT: set model.name"),
  ("DDPM++", dict(input_size=16), "set model.image_size=8"),
  ("DDPM++", dict(num_classes=0), "set model.num_classes=3"),
  ("DDPM++", dict(attn_resolutions=(8, 4)), "model.attn_resolutions=(4,)"),
  ("NCSN++", dict(encoder_type="standard"), "model.encoder_type='residual'"),
  ("NCSN++", dict(resample_filter=(1, 1)), "resample_filter=(1, 3, 3, 1)"),
  ("NCSN++", dict(embedding_type="positional"), "embedding_type='fourier'"),
  ("ADM", dict(model_channels=16), "set model.model_channels=8"),
  ("GET", dict(injection_depth=2), "set model.injection_depth=1"),
  ("GET", dict(equilibrium_depth=1), "set model.equilibrium_depth=2"),
  ("GET", dict(equilibrium_mlp_ratio=2.0), "equilibrium_mlp_ratio=6.0"),
  (
    "ViT",
    dict(conditioning="adaLN-Zero"),
    "set model.conditioning='injection'",
  ),
  ("U-ViT", dict(conv=False), "set model.conv=True"),
  ("U-ViT", dict(skip="none"), "set model.skip='concat'"),
  ("U-ViT", dict(depth=4), "set model.depth=2"),
  ("U-ViT", dict(null_class=False), "set model.null_class=True"),
  ("U-ViT", dict(input_size=16), "set model.image_size=8"),
  ("U-ViT", dict(mlp_time_embed=True), "set model.mlp_time_embed=False"),
  ("U-ViT text", dict(context_features=6), "set model.context_features=5"),
  ("U-ViT options", dict(skip="concat"), "set model.skip='none'"),
]


@pytest.fixture(scope="module")
def tensors_of_case():
  """Makes the official tensors of a tiny model, cached."""

  @functools.cache
  def make(case):
    model = model_of(case)
    return export_official(model, params_of(model))

  return make


@pytest.mark.parametrize(("case", "fields", "suggestion"), SUGGESTIONS)
def test_suggested_changes(tensors_of_case, case, fields, suggestion):
  with pytest.raises(UsageError) as error:
    load_official(model_of(case, **fields), tensors_of_case(case))
  assert suggestion in str(error.value)


def test_published_sizes_and_other_families():
  wanted = create_model("DiT-B/4", image_size=512)
  shapes = placeholder_tensors(create_model("DiT-S/2"))
  with pytest.raises(UsageError) as error:
    load_official(wanted, shapes)
  assert (
    "this file is a 256-pixel DiT-S/2: set model.name='DiT-S/2', "
    "model.image_size=256)" in str(error.value)
  )
  with pytest.raises(UsageError, match="this file is a DiT: set model.name"):
    load_official(model_of("GET"), shapes)
  with pytest.raises(UsageError) as error:
    load_official(
      create_model("U-ViT-S/2"), placeholder_tensors(create_model("U-ViT-H/2"))
    )
  suggestion = "(this file is a U-ViT-H/2: set model.name='U-ViT-H/2')"
  assert suggestion in str(error.value)


def test_edm_networks_with_preconditioner_prefix(tensors_of_case):
  tensors = tensors_of_case("NCSN++")
  wrapped = {f"model.{name}": value for name, value in tensors.items()}
  wrapped["u"] = np.zeros(3)  # iDDPM's noise levels
  model = model_of("NCSN++")
  assert_equal(load_official(model, wrapped), load_official(model, tensors))
  with pytest.raises(UsageError, match=r"\(this file is a SongUNet"):
    load_official(model_of("ViT"), wrapped)
  with pytest.raises(UsageError) as error:
    load_official(
      create_model("DDPM++-32"), placeholder_tensors(create_model("NCSN++-64"))
    )
  suggestion = (
    "a 64-pixel NCSN++-64: set model.name='NCSN++-64', model.image_size=64"
  )
  assert suggestion in str(error.value)


def test_all_mismatches_are_listed(tensors_of_case):
  wrong = dict(tensors_of_case("adaLN-Zero"))
  del wrong["blocks.1.mlp.fc1.bias"], wrong["pos_embed"]
  wrong["extra.weight"] = np.zeros(1)
  wrong["x_embedder.proj.bias"] = np.zeros((2, 2))
  with pytest.raises(UsageError) as error:
    load_official(model_of("adaLN-Zero"), wrong)
  text = str(error.value)
  assert "missing blocks.1.mlp.fc1.bias, pos_embed;" in text
  assert "unexpected extra.weight;" in text
  assert "x_embedder.proj.bias of shape (2, 2) instead of (16,)" in text
  assert "\n" not in text


def test_constants_of_the_official_file():
  model = model_of("DiffiT")
  params = params_of(model)
  tensors = export_official(model, params)
  name = "blocks.1.attn.relative_position_index"
  index = tensors[name]
  assert index.dtype == np.int64 and index.shape == (8, 8)
  without = {k: v for k, v in tensors.items() if not k.endswith("_index")}
  assert_equal(load_official(model, without), params)
  with pytest.raises(UsageError, match=f"has a {name} that differs"):
    load_official(model, {**tensors, name: index.T})
  with pytest.raises(UsageError, match="of shape"):
    load_official(model, {**tensors, name: index[:1]})


def test_weight_norm_is_folded_in():
  model = model_of("GET")
  tensors = export_official(model, params_of(model))
  name = "deq_blocks.0.mlp.fc1"
  v = tensors.pop(f"{name}.weight")
  g = np.linspace(1, 2, len(v), dtype=np.float32)[:, None]
  split = tensors | {f"{name}.weight_g": g, f"{name}.weight_v": v}
  params = load_official(model, split)
  kernel = params["equilibrium_blocks_0"]["mlp"]["fc1"]["kernel"]
  np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), g[:, 0], rtol=1e-6)


def test_models_without_official_checkpoints():
  with pytest.raises(UsageError, match="Dense has no official checkpoints"):
    load_official(nn.Dense(3), {})

"""Checkpoint files of the official codes: read, converted, evaluated."""

import numpy as np
import pytest
from golden_numbers import fast_compile_jit, nhwc, relative

from get_jax.diffusion import create_process
from get_jax.interop import read_checkpoint
from get_jax.interop.convert import import_checkpoint
from get_jax.interop.official import export_official, load_official
from get_jax.interop.state_dict import extract_state_dict
from get_jax.models import create_model


def test_training_checkpoint_of_get(golden, golden_dir):
  expected = golden("get/ckpt_expected")
  ctor = expected.meta["ctor"]
  model = create_model(
    "GET",
    input_size=ctor["input_size"],
    hidden_size=ctor["hidden_size"],
    num_heads=ctor["num_heads"],
    injection_depth=ctor["depth"],
    equilibrium_depth=ctor["deq_depth"],
    mlp_ratio=ctor["mlp_ratio"],
    equilibrium_mlp_ratio=ctor["deq_mlp_ratio"],
    num_classes=ctor["num_classes"],
  )
  path = golden_dir / "get/ckpt_tiny.pth"
  checkpoint = read_checkpoint(path)
  for weights in ("model", "ema"):
    stored = expected.under(weights)
    assert list(checkpoint[weights]) == list(stored)
    for name, array in stored.items():
      np.testing.assert_array_equal(checkpoint[weights][name], array)
  state = checkpoint["opt"]["state"]
  order = list(expected.under("model"))
  for name in expected.meta["opt_has_state_for"]:
    for moment in ("exp_avg", "exp_avg_sq"):
      np.testing.assert_array_equal(
        state[order.index(name)][moment],
        expected.arrays[f"opt/{name}/{moment}"],
      )
  assert checkpoint["args"].eval_f_max_iter == 6
  params = import_checkpoint(path, model)
  assert_same(export_official(model, params), expected.under("ema"))
  x, y = nhwc(expected.arrays["in/x"]), expected.arrays["in/y"]
  z0 = expected.arrays["in/z0"]
  images = fast_compile_jit(lambda p: model.apply({"params": p}, x, y, z0=z0))(
    params
  )
  assert relative(images, nhwc(expected.arrays["out/ema_eval6"])) < 1e-5


def test_released_layout_of_diffit(golden, golden_dir):
  expected = golden("diffit/checkpoint_tiny_expected")
  model = create_model("DiffiT", **expected.meta["cfg"])
  path = golden_dir / "diffit/checkpoint_tiny.safetensors"
  params = import_checkpoint(path, model)
  assert_same(export_official(model, params), read_checkpoint(path))
  x, t, y = (expected.arrays[f"in/{name}"] for name in "xty")
  out = fast_compile_jit(model.apply)({"params": params}, nhwc(x), t, y)
  assert relative(out, nhwc(expected.arrays["out/model"])) < 1e-5


def assert_same(tensors, expected):
  assert tensors.keys() == expected.keys()
  for name, tensor in expected.items():
    np.testing.assert_array_equal(tensors[name], tensor)


@pytest.mark.parametrize("case", ["a", "b_nosigma"])
def test_names_of_dit(golden, case):
  data = golden(f"dit/dit_forward_{case}")
  fields = dict(data.meta["cfg"])
  fields["null_class"] = fields.pop("class_dropout_prob") > 0
  model = create_model("DiT", **fields)
  params = load_official(model, data.under("param"))
  assert_same(export_official(model, params), data.under("param"))


UVIT_FIELDS = {
  "img_size": "input_size",
  "in_chans": "in_channels",
  "embed_dim": "hidden_size",
  "clip_dim": "context_features",
  "num_clip_token": "context_tokens",
}


@pytest.mark.parametrize(
  "case", ["classcond_noconv", "t2i_conv", "skip_none", "options"]
)
def test_names_of_uvit(golden, case):
  data = golden(f"uvit/model_{case}")
  fields = data.meta["constructor"]
  fields = {UVIT_FIELDS.get(k, k): v for k, v in fields.items()}
  fields["num_classes"] = max(0, fields.get("num_classes", 0))
  if not fields.pop("skip", True):
    fields["skip"] = "none"
  model = create_model("U-ViT", **fields)
  params = load_official(model, data.under("param"))
  assert_same(export_official(model, params), data.under("param"))


def test_formats_of_torch(golden, golden_dir):
  expected = golden("inception/formats/expected").arrays
  for name in ("state_dict_zip", "state_dict_legacy", "nested_legacy"):
    checkpoint = read_checkpoint(golden_dir / f"inception/formats/{name}.pth")
    tensors = extract_state_dict(checkpoint)
    assert tensors.keys() == expected.keys()
    for key, array in expected.items():
      if key == "bfloat16":  # stored widened
        assert tensors[key].dtype.name == "bfloat16"
      else:
        assert tensors[key].dtype == array.dtype
      np.testing.assert_array_equal(tensors[key].astype(array.dtype), array)


@pytest.mark.parametrize("name", ["network_pickle", "network_pickle_numpy1"])
def test_snapshots_of_edm(golden, golden_dir, name):
  expected = golden(f"edm/{name}")
  ctor, path = expected.meta["ctor"], golden_dir / f"edm/{name}.pkl"
  network = read_checkpoint(path)["ema"]
  tensors = extract_state_dict({"ema": network})
  assert list(tensors) == list(expected.under("param"))
  assert_same(tensors, expected.under("param"))
  assert network.init_kwargs.items() <= ctor.items()

  fields = {k: tuple(v) if isinstance(v, list) else v for k, v in ctor.items()}
  fields["num_classes"] = fields.pop("label_dim")
  fields["input_size"] = fields.pop("img_resolution")
  fields["in_channels"] = fields.pop("img_channels")
  model = create_model(fields.pop("model_type"), **fields)
  params = import_checkpoint(path, model)
  inside = {k.removeprefix("model."): v for k, v in tensors.items()}
  assert_same(export_official(model, params), inside)

  given = expected.under("in")
  x, sigma, y = nhwc(given["x"]), given["sigma"], given.get("class_labels")

  @fast_compile_jit
  def denoise(params):
    def net(x, t):
      return model.apply({"params": params}, x, t, y)

    return create_process("edm").denoiser(net)(x, sigma)

  assert relative(denoise(params), nhwc(expected.arrays["out/D"])) < 1e-5

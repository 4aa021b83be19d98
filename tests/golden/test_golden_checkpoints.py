"""Checkpoint files of the official codes: read, converted, evaluated."""

import re

import numpy as np
import pytest
from cases import cases, files, find
from get_cases import get_model
from golden_numbers import fast_compile_jit, nhwc, relative
from tolerances import tolerance

from get_jax.diffusion import create_process
from get_jax.interop import read_checkpoint
from get_jax.interop.convert import import_checkpoint
from get_jax.interop.official import export_official
from get_jax.interop.state_dict import extract_state_dict
from get_jax.models import create_model

GET_FILES = files("get/ckpt_*.pth")
DIFFIT_FILES = files("diffit/*.safetensors")
TORCH_FILES = files("inception/formats/*.pth")
EDM_FILES = files("edm/*.pkl")
TORCH_EXPECTED = find("inception/formats/*.npz")


def assert_same(tensors, expected):
  assert tensors.keys() == expected.keys()
  for name, tensor in expected.items():
    np.testing.assert_array_equal(tensors[name], tensor)


def test_every_file_has_expected_numbers():
  described = {
    case.path.with_name(case.meta[key])
    for pattern, key in (("get/ckpt_*.npz", "file"), ("edm/*.npz", "pkl"))
    for case in find(pattern, lambda case, key=key: key in case.meta)
  }
  described |= {
    diffit_file(case) for case in find("diffit/checkpoint_*_expected.npz")
  }
  assert described == {*GET_FILES, *EDM_FILES, *DIFFIT_FILES}


def diffit_file(case):
  """The file whose numbers a case holds."""
  name = case.path.stem.removesuffix("_expected")
  return case.path.with_name(f"{name}.safetensors")


@cases("get/ckpt_*.npz")
def test_training_checkpoint_of_get(case):
  model = get_model(case)
  path = case.path.with_name(case.meta["file"])
  checkpoint = read_checkpoint(path)
  for weights in ("model", "ema"):
    stored = case.under(weights)
    assert list(checkpoint[weights]) == list(stored)
    for name, array in stored.items():
      np.testing.assert_array_equal(checkpoint[weights][name], array)
  state = checkpoint["opt"]["state"]
  order = list(case.under("model"))
  assert len(state) == len(case.meta["opt_has_state_for"])
  for name in case.meta["opt_has_state_for"]:
    for moment in ("exp_avg", "exp_avg_sq"):
      np.testing.assert_array_equal(
        state[order.index(name)][moment],
        case.arrays[f"opt/{name}/{moment}"],
      )
  params = import_checkpoint(path, model)
  assert_same(export_official(model, params), case.under("ema"))
  x, z0 = nhwc(case.arrays["in/x"]), case.arrays["in/z0"]
  y = case.arrays.get("in/y")
  for name, expected in case.under("out").items():
    iterations = int(re.fullmatch(r"ema_eval(\d+)", name)[1])
    assert checkpoint["args"].eval_f_max_iter == iterations
    images = fast_compile_jit(
      lambda p, n=iterations: model.apply({"params": p}, x, y, z0, n)
    )(params)
    assert relative(images, nhwc(expected)) < tolerance(case, "get/checkpoint")


@cases("diffit/checkpoint_*_expected.npz")
def test_released_layout_of_diffit(case):
  model = create_model("DiffiT", **case.meta["cfg"])
  path = diffit_file(case)
  params = import_checkpoint(path, model)
  assert_same(export_official(model, params), read_checkpoint(path))
  x, t, y = (case.arrays[f"in/{name}"] for name in "xty")
  out = fast_compile_jit(model.apply)({"params": params}, nhwc(x), t, y)
  expected = nhwc(case.arrays["out/model"])
  assert relative(out, expected) < tolerance(case, "diffit/checkpoint")


@pytest.mark.parametrize("path", TORCH_FILES, ids=lambda path: path.stem)
def test_formats_of_torch(path):
  (expected,) = TORCH_EXPECTED
  tensors = extract_state_dict(read_checkpoint(path))
  assert tensors.keys() == expected.arrays.keys()
  for key, array in expected.arrays.items():
    if key == "bfloat16":  # stored widened
      assert tensors[key].dtype.name == "bfloat16"
    else:
      assert tensors[key].dtype == array.dtype
    np.testing.assert_array_equal(tensors[key].astype(array.dtype), array)


@cases("edm/*_pickle*.npz")
def test_snapshots_of_edm(case):
  ctor, path = case.meta["ctor"], case.path.with_name(case.meta["pkl"])
  network = read_checkpoint(path)["ema"]
  tensors = extract_state_dict({"ema": network})
  assert list(tensors) == list(case.under("param"))
  assert_same(tensors, case.under("param"))
  assert network.init_kwargs.items() <= ctor.items()

  fields = {k: tuple(v) if isinstance(v, list) else v for k, v in ctor.items()}
  fields["num_classes"] = fields.pop("label_dim")
  fields["input_size"] = fields.pop("img_resolution")
  fields["in_channels"] = fields.pop("img_channels")
  model = create_model(fields.pop("model_type"), **fields)
  params = import_checkpoint(path, model)
  inside = {k.removeprefix("model."): v for k, v in tensors.items()}
  assert_same(export_official(model, params), inside)

  given = case.under("in")
  x, sigma, y = nhwc(given["x"]), given["sigma"], given.get("class_labels")

  @fast_compile_jit
  def denoise(params):
    def net(x, t):
      return model.apply({"params": params}, x, t, y)

    return create_process("edm").denoiser(net)(x, sigma)

  expected = nhwc(case.arrays["out/D"])
  assert relative(denoise(params), expected) < tolerance(case, "edm/pickle")

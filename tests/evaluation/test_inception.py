"""Inception-v3 without reference numbers: weights, resizing, bad input."""

import jax
import numpy as np
import pytest
from PIL import Image

from get_jax import evaluation
from get_jax.errors import UsageError
from get_jax.evaluation.extractors import inception_weights
from get_jax.evaluation.extractors.inception import Inception
from get_jax.evaluation.extractors.preprocessing import (
  preprocess,
  resize_matrix,
)


@pytest.fixture(scope="module")
def arrays():
  return inception_weights.random_checkpoint(0)


def test_the_checkpoint(arrays):
  assert len(arrays) == 472
  assert sum(x.size for x in arrays.values()) == 23_885_392
  assert arrays["fc.weight"].shape == (1008, 2048)
  assert arrays["Mixed_6b.branch7x7_2.conv.weight"].shape == (128, 128, 1, 7)
  params = inception_weights.inception_params(
    arrays | {"AuxLogits.fc.weight": 0, "x.bn.num_batches_tracked": 3}
  )
  inputs = jax.ShapeDtypeStruct((2, 299, 299, 3), np.float32)
  out = jax.eval_shape(Inception().apply, {"params": params}, inputs)
  assert {k: v.shape for k, v in out.items()} == {
    "pool": (2, 2048),
    "logits": (2, 1008),
    "logits_unbiased": (2, 1008),
    "spatial": (2, 17, 17, 7),
  }


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"fc.weight": np.zeros((1000, 2048))}, "torchvision's Inception-v3"),
    ({"fc.bias": None}, "1 keys missing and 0 unknown .*no 'fc.bias'"),
    ({"net.x": np.zeros(1)}, "0 keys missing and 1 unknown .*unknown 'net.x'"),
    ({"fc.bias": np.zeros(3)}, r"'fc.bias' of shape \(3,\), expected \(1008,"),
  ],
)
def test_other_weights_are_refused(arrays, change, sentence):
  changed = {k: v for k, v in (arrays | change).items() if v is not None}
  with pytest.raises(UsageError, match=sentence):
    evaluation.InceptionExtractor(changed)


def test_something_else_than_arrays():
  with pytest.raises(UsageError, match="are a list, expected arrays by name"):
    evaluation.InceptionExtractor([1, 2])


def test_missing_file_says_where_to_get_it(tmp_path):
  with pytest.raises(UsageError, match="download https://github"):
    evaluation.create_extractor(
      "inception", read=lambda path: {}, path=tmp_path / "nothing.pth"
    )


def test_names_and_images(arrays):
  make = evaluation.create_extractor
  random = make("random-inception", seed=3, preprocessing="clean")
  assert random.name == "random3-inception-clean" and random.dim == 2048
  assert random.digest != inception_weights.weights_digest(arrays)
  for images, sentence in (
    (np.zeros((1, 8, 8, 2), np.uint8), "expected .* C = 1 or 3"),
    (np.zeros((1, 8, 8, 3), np.float32), "expected uint8"),
  ):
    with pytest.raises(UsageError, match=sentence):
      random(images)
  with pytest.raises(UsageError, match="unknown preprocessing 'tf2'"):
    make("random-inception", preprocessing="tf2")


@pytest.mark.parametrize("size", [(16, 24), (400, 310)])
def test_clean_resize_is_that_of_pillow(size):
  image = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
  wanted = Image.fromarray(image[..., 0].astype(np.float32))
  wanted = wanted.resize((299, 299), Image.Resampling.BICUBIC)
  wanted = (np.clip(np.asarray(wanted), 0, 255) - 128) / 128
  found = preprocess(image[None], "clean")[0, ..., 0]
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_bilinear_matrices():
  # Without half pixels the first pixel stands still and the last is reached
  # early; with them both ends are symmetric.
  np.testing.assert_allclose(
    resize_matrix(2, 4, "tf1"), [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
  )
  np.testing.assert_allclose(
    resize_matrix(2, 4, "pytorch_fid"),
    [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]],
  )
  for name in ("tf1", "pytorch_fid", "clean"):
    np.testing.assert_array_equal(resize_matrix(9, 9, name), np.eye(9))
    np.testing.assert_allclose(
      resize_matrix(50, 9, name).sum(axis=1), 1, rtol=1e-6
    )

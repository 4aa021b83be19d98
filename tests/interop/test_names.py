"""Rules, transforms and the way a list of names is shortened."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from get_jax.interop import names
from get_jax.interop.mismatch import misfits

TRANSFORMS = {
  "same": (names.SAME, 3),
  "linear": (names.LINEAR, 2),
  "convolution": (names.CONVOLUTION, 4),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=20, deadline=None)
def test_transforms_have_inverses(name, data):
  transform, rank = TRANSFORMS[name]
  shape = data.draw(st.tuples(*[st.integers(1, 4)] * rank))
  x = np.arange(np.prod(shape)).reshape(shape)
  np.testing.assert_array_equal(transform.export(transform.load(x)), x)
  np.testing.assert_array_equal(transform.load(transform.export(x)), x)


@hypothesis.given(*[st.integers(1, 4)] * 3)
@hypothesis.settings(max_examples=20, deadline=None)
def test_patch_convolution(width, channels, patch):
  x = np.arange(width * channels * patch**2)
  x = x.reshape(width, channels, patch, patch)
  transform = names.patch_convolution(patch)
  kernel = transform.load(x)
  np.testing.assert_array_equal(transform.export(kernel), x)
  image = np.arange(patch * patch * channels).reshape(patch, patch, channels)
  expected = np.einsum("dchw,hwc->d", x, image)
  np.testing.assert_array_equal(image.reshape(-1) @ kernel, expected)


def test_table():
  x = np.arange(6).reshape(1, 2, 3)
  np.testing.assert_array_equal(names.TABLE.load(x), x[0])
  np.testing.assert_array_equal(names.TABLE.export(x[0]), x)


def test_rules():
  rule = names.Rule("up.{}.block.{}.conv", "up_{}/block_{}/conv")
  assert rule.match("up_3/block_12/conv") == "up.3.block.12.conv"
  assert rule.match("up_3/block_12/conv/kernel") is None
  assert rule.match("up_x/block_12/conv") is None
  tree = {
    "a_7": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)},
    "a": {"scale": np.zeros(2)},
    "b": np.zeros((4, 5)),
  }
  rules = [names.Rule("A.{}", "a_{}"), names.Rule("A", "a")]
  with pytest.raises(KeyError, match="no rule gives b"):
    names.entries(rules, tree)
  rules.append(names.Rule("B", "b", names.TABLE))
  found = names.entries(rules, tree)
  shapes = {name: entry.shape for name, entry in found.items()}
  assert shapes == {
    "A.7.weight": (3, 2),
    "A.7.bias": (3,),
    "A.weight": (2,),
    "B": (1, 4, 5),
  }


def test_lists_of_names_are_shortened():
  expected = {f"blocks.{i}.w": (2,) for i in (0, 1, 2, 3, 5, 6, 9)}
  expected |= {f"blocks.{i}.b": (2,) for i in range(8)} | {"pos": (1,)}
  assert misfits({}, expected) == [
    "missing blocks.[0-3,5-6,9].w, blocks.[0-7].b, pos"
  ]
  surplus = {f"t{chr(97 + i)}": (1,) for i in range(15)}
  (phrase,) = misfits(surplus, {})
  assert phrase.endswith("tl, and 3 more")
  assert misfits({"a": (1, 2), "b": (1, 2)}, {"a": (2,), "b": (2,)}) == [
    "a, b of shape (1, 2) instead of (2,)"
  ]

"""Name rules, layout transforms and abbreviated lists of names."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from get_jax.interop import name_mapping
from get_jax.interop.mismatch import describe_mismatches

TRANSFORMS = {
  "same": (name_mapping.IDENTITY, 3),
  "linear": (name_mapping.LINEAR, 2),
  "convolution": (name_mapping.CONVOLUTION, 4),
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
  transform = name_mapping.patch_convolution(patch)
  kernel = transform.load(x)
  np.testing.assert_array_equal(transform.export(kernel), x)
  image = np.arange(patch * patch * channels).reshape(patch, patch, channels)
  expected = np.einsum("dchw,hwc->d", x, image)
  np.testing.assert_array_equal(image.reshape(-1) @ kernel, expected)


def test_position_table():
  x = np.arange(6).reshape(1, 2, 3)
  np.testing.assert_array_equal(name_mapping.POSITION_TABLE.load(x), x[0])
  np.testing.assert_array_equal(name_mapping.POSITION_TABLE.export(x[0]), x)


def test_rules():
  rule = name_mapping.NameRule("up.{}.block.{}.conv", "up_{}/block_{}/conv")
  assert rule.match("up_3/block_12/conv") == "up.3.block.12.conv"
  assert rule.match("up_3/block_12/conv/kernel") is None
  assert rule.match("up_x/block_12/conv") is None
  tree = {
    "a_7": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)},
    "a": {"scale": np.zeros(2)},
    "b": np.zeros((4, 5)),
  }
  rules = [
    name_mapping.NameRule("A.{}", "a_{}"),
    name_mapping.NameRule("A", "a"),
  ]
  with pytest.raises(KeyError, match="no rule gives b"):
    name_mapping.build_mapping(rules, tree)
  rules.append(name_mapping.NameRule("B", "b", name_mapping.POSITION_TABLE))
  mapping = name_mapping.build_mapping(rules, tree)
  shapes = {name: entry.shape for name, entry in mapping.items()}
  assert shapes == {
    "A.7.weight": (3, 2),
    "A.7.bias": (3,),
    "A.weight": (2,),
    "B": (1, 4, 5),
  }


def test_lists_of_names_are_abbreviated():
  expected = {f"blocks.{i}.w": (2,) for i in (0, 1, 2, 3, 5, 6, 9)}
  expected |= {f"blocks.{i}.b": (2,) for i in range(8)} | {"pos": (1,)}
  assert describe_mismatches({}, expected) == [
    "missing blocks.[0-3,5-6,9].w, blocks.[0-7].b, pos"
  ]
  unexpected = {f"t{chr(97 + i)}": (1,) for i in range(15)}
  (phrase,) = describe_mismatches(unexpected, {})
  assert phrase.endswith("tl, and 3 more")
  assert describe_mismatches(
    {"a": (1, 2), "b": (1, 2)}, {"a": (2,), "b": (2,)}
  ) == ["a, b of shape (1, 2) instead of (2,)"]

"""The check of annotations is on in tests."""

import jax.numpy as jnp
import jaxtyping
import pytest

from get_jax.diffusion.warp import warp


def test_a_wrong_shape_is_found():
  with pytest.raises(jaxtyping.TypeCheckError, match="inverse"):
    warp(jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3)))

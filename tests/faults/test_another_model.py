"""A checkpoint of another model is refused, and nothing of it is loaded."""

import jax
import jax.numpy as jnp
import optax
import pytest

from get_jax.errors import UsageError
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.state import make_init_state

PARAMS = {"block": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}


def state_of(params, momentum=None):
  optimizer = optax.sgd(0.1, momentum=momentum)
  return make_init_state(lambda _: params, (), optimizer)(jax.random.key(0))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
  with Checkpoints(tmp_path_factory.mktemp("run") / "checkpoints") as opened:
    opened.save(state_of(PARAMS))
    opened.wait()
    yield opened


def kernel(array):
  return {"block": {**PARAMS["block"], "kernel": array}}


OTHERS = {
  "width": (
    state_of(kernel(jnp.ones((4, 8)))),
    r"2 arrays differ, the first is ema/block/kernel \(found "
    r"\[\[4, 4\], 'float32'\], expected \[\[4, 8\], 'float32'\]\)",
  ),
  "dtype": (
    state_of(kernel(jnp.ones((4, 4), jnp.bfloat16))),
    r"expected \[\[4, 4\], 'bfloat16'\]",
  ),
  "depth": (
    state_of({**PARAMS, "second": PARAMS["block"]}),
    r"4 arrays differ, the first is ema/second/bias \(found None",
  ),
  "missing": (
    state_of({"block": {"kernel": jnp.ones((4, 4))}}),
    r"the first is ema/block/bias .*, expected None\)",
  ),
  "optimizer": (
    state_of(PARAMS, momentum=0.9),
    r"2 arrays differ, the first is training/opt_state/",
  ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_differing_arrays_are_named(checkpoints, name):
  like, sentence = OTHERS[name]
  with pytest.raises(
    UsageError, match=f"belongs to another model: .*{sentence}"
  ):
    checkpoints.restore(like)
  # It is not damaged: the right model still reads it.
  restored = checkpoints.restore(state_of(PARAMS))
  assert (restored.params["block"]["kernel"] == 1).all()

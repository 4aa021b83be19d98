import jax
import jax.numpy as jnp
import numpy as np
from fast_compile import fast_compile_jit

from get_jax.diffusion import create_process
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.denoising import Denoising

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (64, 4, 4, 3))


def watched(objective_of, batch):
  """What the network was told in one call."""
  seen = {}

  def apply(params, x, t, y, key, **told):
    seen.update(x=x, t=t, y=y, **told)
    return params * x

  def run(batch):
    return *objective_of(apply)(jnp.float32(0.5), batch, KEY), dict(seen)

  loss, metrics, told = fast_compile_jit(run)(batch)
  assert loss.shape == () and np.isfinite(loss)
  assert all(value.shape == () for value in metrics.values())
  return told


def test_labels_are_dropped_at_their_rate():
  process = create_process("edm")

  def of(apply):
    return Denoising(apply, process, null=10, label_dropout=0.25)

  y = jnp.arange(64) % 10
  seen = watched(of, {"image": IMAGES, "label": y})["y"]
  dropped = seen == 10
  assert 6 <= dropped.sum() <= 26
  np.testing.assert_array_equal(seen[~dropped], y[~dropped])


def test_text_is_dropped_whole():
  empty = jnp.full((5, 2), -1.0)

  def of(apply):
    return Denoising(apply, create_process("vp"), empty, label_dropout=0.5)

  text = jax.random.uniform(KEY, (64, 5, 2))
  seen = watched(of, {"image": IMAGES, "label": text})["y"]
  dropped = (seen == -1).all((1, 2))
  assert 16 <= dropped.sum() <= 48
  np.testing.assert_array_equal(seen[~dropped], text[~dropped])


def test_augmentation_is_told_to_the_network():
  def of(apply):
    return Denoising(apply, create_process("edm"), augment=Augmentation(p=0.5))

  seen = watched(of, {"image": IMAGES})
  assert seen["y"] is None and seen["augment_labels"].shape == (64, 9)
  assert np.any(seen["augment_labels"])

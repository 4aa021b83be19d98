import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast_compile import fast_compile_jit

from get_jax.diffusion import create_process
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.objectives.denoising import Denoising

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (64, 4, 4, 3))


def network_inputs(objective_of, batch):
  """The arguments of the network in one evaluation of the objective."""
  seen = {}

  def apply(params, x, t, y, key, **extra):
    seen.update(x=x, t=t, y=y, **extra)
    return params * x

  def run(batch):
    return *objective_of(apply)(jnp.float32(0.5), batch, KEY), dict(seen)

  loss, metrics, inputs = fast_compile_jit(run)(batch)
  assert loss.shape == () and np.isfinite(loss)
  assert all(value.shape == () for value in metrics.values())
  return inputs


def test_labels_are_dropped_at_the_given_rate():
  process = create_process("edm")

  def of(apply):
    return Denoising(apply, process, null=10, label_dropout=0.25)

  y = jnp.arange(64) % 10
  seen = network_inputs(of, {"image": IMAGES, "label": y})["y"]
  dropped = seen == 10
  assert 6 <= dropped.sum() <= 26
  np.testing.assert_array_equal(seen[~dropped], y[~dropped])


def test_text_is_dropped_as_a_whole():
  empty = jnp.full((5, 2), -1.0)

  def of(apply):
    return Denoising(apply, create_process("vp"), empty, label_dropout=0.5)

  text = jax.random.uniform(KEY, (64, 5, 2))
  seen = network_inputs(of, {"image": IMAGES, "label": text})["y"]
  dropped = (seen == -1).all((1, 2))
  assert 16 <= dropped.sum() <= 48
  np.testing.assert_array_equal(seen[~dropped], text[~dropped])


def test_augmentation_labels_reach_the_network():
  def of(apply):
    return Denoising(apply, create_process("edm"), augment=Augmentation(p=0.5))

  seen = network_inputs(of, {"image": IMAGES})
  assert seen["y"] is None and seen["augment_labels"].shape == (64, 9)
  assert np.any(seen["augment_labels"])


@pytest.mark.parametrize(
  "name, settings",
  [
    ("edm", {}),
    ("vp", {}),
    ("adm", {}),
    ("adm", {"objective": "bound"}),
    ("adm", {"variance": "fixed_small"}),
  ],
)
def test_metrics_have_the_names_that_the_process_gives(name, settings):
  process = create_process(name, **settings)

  def apply(params, x, t, y, key):
    learned = getattr(process, "variance", "").startswith("learned")
    return params * (jnp.concatenate([x, x], -1) if learned else x)

  objective = Denoising(apply, process)
  _, metrics = jax.eval_shape(
    objective, jnp.float32(0.5), {"image": IMAGES}, KEY
  )
  assert {*metrics} == {*objective.metric_names}


@pytest.mark.parametrize("target", ["noise", "data", "velocity"])
@pytest.mark.parametrize("prediction", ["noise", "data", "velocity"])
def test_predictions_of_a_vp_process(prediction, target):
  """A network that predicts the truth has no loss; another one has."""
  process = create_process("vp", prediction=prediction, target=target)
  x0, noise = np.split(np.asarray(IMAGES[:6]), 2)
  t = np.float32([0.2, 0.5, 0.8])
  alpha, sigma = (
    np.reshape(f(t), (3, 1, 1, 1))
    for f in (process.schedule.alpha, process.schedule.sigma)
  )
  x = np.float32(alpha * x0 + sigma * noise)
  truth = {"noise": noise, "data": x0, "velocity": alpha * noise - sigma * x0}

  def net(x, time, error=0.0):
    np.testing.assert_allclose(time, 999 * t, rtol=1e-6)
    return jnp.float32(truth[prediction] + error)

  loss, _ = process.loss_at(net, x0, t, noise)
  assert loss.max() < 1e-9
  assert process.loss_at(lambda *a: net(*a, 0.1), x0, t, noise)[0].min() > 1e-5
  estimate = process.predictor(net)(x, t)
  np.testing.assert_allclose(estimate, noise, atol=1e-4)

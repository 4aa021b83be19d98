"""Trains the classifier that scores digits (half a minute on one core).

    python -m get_jax.evaluation.train_digits_classifier --output=digits.npz

The shipped file `digits_v1.npz` came from this script and is frozen: another
training is another ruler, so its name must differ and its scores do not
compare with those of "digits-v1".
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from sklearn.datasets import load_digits
from tqdm import trange

from get_jax.evaluation.classifier import Classifier, save_classifier
from get_jax.evaluation.images import to_uint8

OUTPUT = flags.DEFINE_string("output", None, "The .npz file.", required=True)
NAME = flags.DEFINE_string("name", "digits-v1", "Name of the ruler.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of weights and order.")

CLASSIFIER = Classifier(widths=(20, 48), num_features=64, num_classes=10)
NUM_TRAIN = 1400  # the other 397 measure the accuracy
BATCH_SIZE = 100
EPOCHS = 60
# Root mean square distance between the features of two real digits: sets the
# unit of the Frechet distance, which a classifier leaves open.
DISTANCE = 20.0


def digits() -> tuple[np.ndarray, np.ndarray]:
  """All 1,797 digits of scikit-learn.

  Returns:
    Images, uint8 (1797, 8, 8, 1), quantised like samples of a model trained
    on `x / 8 - 1`; labels, int32 (1797,). Shuffled with a fixed seed, since
    the file is ordered by writer.
  """
  data = load_digits()
  order = np.random.default_rng(0).permutation(len(data.target))
  images = to_uint8(data.images[order, ..., None] / 8 - 1)
  return images, data.target[order].astype(np.int32)


def train(images, labels, seed: int):
  """Trains on all that is given.

  Args:
    images: uint8 (N, 8, 8, 1), N a multiple of the batch size.
    labels: int32 (N,).
    seed: Seed of the weights and of the order.

  Returns:
    Parameters of `CLASSIFIER`.
  """
  steps = EPOCHS * (len(images) // BATCH_SIZE)
  optimizer = optax.adamw(
    optax.cosine_decay_schedule(2e-3, steps), weight_decay=1e-2
  )
  params = CLASSIFIER.init(jax.random.key(seed), images[:1])["params"]

  def loss_of(params, batch, targets):
    logits = CLASSIFIER.apply({"params": params}, batch).logits
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, targets
    ).mean()

  @functools.partial(jax.jit, donate_argnums=(0,))
  def step(state, batch, targets):
    params, moments = state
    gradient = jax.grad(loss_of)(params, batch, targets)
    updates, moments = optimizer.update(gradient, moments, params)
    return optax.apply_updates(params, updates), moments

  state = params, optimizer.init(params)
  rng = np.random.default_rng(seed)
  for _ in trange(EPOCHS, unit="epoch"):
    for rows in rng.permutation(len(images)).reshape(-1, BATCH_SIZE):
      state = step(state, images[rows], labels[rows])
  return state[0]


def scale_features(params, images, distance: float):
  """Rescales the features, and undoes it before the logits.

  Args:
    params: Parameters of `CLASSIFIER`.
    images: uint8 (N, 8, 8, 1), the real images.
    distance: Root mean square distance of two of them afterwards.

  Returns:
    Parameters with the same logits.
  """
  features = np.asarray(CLASSIFIER.apply({"params": params}, images).features)
  scale = distance / np.sqrt(2 * features.var(axis=0).sum())
  kernel = params["logits"]["kernel"] / scale
  return params | {
    "features": jax.tree.map(lambda x: x * scale, params["features"]),
    "logits": params["logits"] | {"kernel": kernel},
  }


def main(_):
  """Trains, measures the accuracy of the stored weights, and writes them."""
  images, labels = digits()
  params = train(images[:NUM_TRAIN], labels[:NUM_TRAIN], SEED.value)
  params = scale_features(params, images, DISTANCE)
  stored = jax.tree.map(
    lambda x: jnp.asarray(np.asarray(x, np.float16), jnp.float32), params
  )
  logits = CLASSIFIER.apply({"params": stored}, images[NUM_TRAIN:]).logits
  right = np.argmax(logits, axis=-1) == labels[NUM_TRAIN:]
  save_classifier(
    OUTPUT.value,
    NAME.value,
    CLASSIFIER,
    params,
    images.shape[1:],
    trained_on=f"{NUM_TRAIN} of sklearn.datasets.load_digits",
    accuracy_on_the_rest=float(right.mean()),
    seed=SEED.value,
  )
  print(f"accuracy on {len(right)} unseen digits: {right.mean():.4f}")


if __name__ == "__main__":
  app.run(main)

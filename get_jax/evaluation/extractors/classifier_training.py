"""Trains a `Classifier` on images in memory."""

import functools
from collections.abc import Callable

import jax
import numpy as np
import optax
from jaxtyping import Int, UInt8

from get_jax.evaluation.extractors.classifier import Classifier, ExtractorOutput
from get_jax.evaluation.features import batches
from get_jax.progress import ProgressBar


def train_classifier(
  classifier: Classifier,
  images: UInt8[np.ndarray, "N H W C"],
  labels: Int[np.ndarray, " N"],
  *,
  epochs: int,
  batch_size: int,
  learning_rate: float,
  weight_decay: float,
  seed: int,
  augment: Callable[[np.ndarray, np.random.Generator], np.ndarray]
  | None = None,
) -> dict:
  """Trains with AdamW and a cosine learning rate schedule over whole epochs.

  Args:
    classifier: The module to train.
    images: uint8 (N, H, W, C).
    labels: int32 (N,).
    epochs: Passes over the images, each in a new order; images that do not
      fill a batch are left out of the epoch.
    batch_size: Images per step.
    learning_rate: Initial learning rate; it decays to 0.
    weight_decay: Weight decay of AdamW.
    seed: Seed of weights, order and augmentation.
    augment: (images, numpy generator) -> images, on the host; or None.

  Returns:
    Parameters.
  """
  steps = len(images) // batch_size
  schedule = optax.cosine_decay_schedule(learning_rate, epochs * steps)
  optimizer = optax.adamw(schedule, weight_decay=weight_decay)

  def loss_fn(params, batch, targets):
    output = classifier.apply({"params": params}, batch)
    assert isinstance(output, ExtractorOutput)
    return optax.softmax_cross_entropy_with_integer_labels(
      output.logits, targets
    ).mean()

  @functools.partial(jax.jit, donate_argnums=(0,))
  def step(state, batch, targets):
    params, opt_state = state
    loss, grads = jax.value_and_grad(loss_fn)(params, batch, targets)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss

  init = jax.jit(classifier.init)
  params = init(jax.random.key(seed), images[:1])["params"]
  state = params, optimizer.init(params)
  rng = np.random.default_rng(seed)
  with ProgressBar(total=epochs * steps, unit="step") as bar:
    for _ in range(epochs):
      order = rng.permutation(len(images))[: steps * batch_size]
      for indices in order.reshape(steps, batch_size):
        batch = images[indices]
        batch = batch if augment is None else augment(batch, rng)
        state, loss = step(state, batch, labels[indices])
        bar.update()
      bar.set_postfix(loss=f"{loss:.4f}")
  return state[0]


def round_to_float16(params: dict) -> dict:
  """Rounds float32 parameters to float16, the precision of a stored file."""
  return jax.tree.map(
    lambda x: np.asarray(np.asarray(x, np.float16), np.float32), params
  )


def accuracy(
  classifier: Classifier,
  params: dict,
  images: UInt8[np.ndarray, "N H W C"],
  labels: Int[np.ndarray, " N"],
) -> float:
  """Returns the fraction of correctly classified images.

  Args:
    classifier: The module.
    params: Its parameters.
    images: uint8 (N, H, W, C).
    labels: (N,).
  """
  apply = jax.jit(classifier.apply)
  logits = [
    np.asarray(apply({"params": params}, batch).logits)
    for batch in batches(images, 1000)
  ]
  return float(np.mean(np.argmax(np.concatenate(logits), -1) == labels))


def scale_features(
  classifier: Classifier,
  params: dict,
  images: UInt8[np.ndarray, "N H W C"],
  distance: float,
) -> dict:
  """Scales the features to a given distance, which training leaves arbitrary.

  Args:
    classifier: The module.
    params: Its parameters.
    images: uint8 (N, H, W, C), real images.
    distance: Root mean square distance between the features of two of the
      images after scaling.

  Returns:
    Parameters that give the same logits.
  """
  apply = jax.jit(classifier.apply)
  features = np.concatenate(
    [
      np.asarray(apply({"params": params}, batch).features)
      for batch in batches(images, 1000)
    ]
  )
  scale = distance / np.sqrt(2 * features.var(axis=0).sum())
  kernel = params["logits"]["kernel"] / scale
  return params | {
    "features": jax.tree.map(lambda x: x * scale, params["features"]),
    "logits": params["logits"] | {"kernel": kernel},
  }

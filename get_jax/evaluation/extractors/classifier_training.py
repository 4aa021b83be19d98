"""Trains a `Classifier` on images in memory."""

import functools
from collections.abc import Callable

import jax
import numpy as np
import optax
from tqdm import tqdm

from get_jax.evaluation.extractors.classifier import Classifier
from get_jax.evaluation.summary import batches


def train_classifier(
  classifier: Classifier,
  images: np.ndarray,
  labels: np.ndarray,
  *,
  epochs: int,
  batch_size: int,
  learning_rate: float,
  weight_decay: float,
  seed: int,
  augment: Callable | None = None,
) -> dict:
  """AdamW with a cosine schedule over whole epochs.

  Args:
    classifier: What to train.
    images: uint8 (N, H, W, C).
    labels: int32 (N,).
    epochs: Passes over the images, each in a new order; what is left over
      from whole batches waits for the next.
    batch_size: Images in a step.
    learning_rate: At the start; it falls to 0.
    weight_decay: AdamW's.
    seed: Seed of weights, order and augmentation.
    augment: (images, numpy generator) -> images, on the host; or None.

  Returns:
    Parameters.
  """
  steps = len(images) // batch_size
  schedule = optax.cosine_decay_schedule(learning_rate, epochs * steps)
  optimizer = optax.adamw(schedule, weight_decay=weight_decay)

  def loss_of(params, batch, targets):
    logits = classifier.apply({"params": params}, batch).logits
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, targets
    ).mean()

  @functools.partial(jax.jit, donate_argnums=(0,))
  def step(state, batch, targets):
    params, moments = state
    loss, gradient = jax.value_and_grad(loss_of)(params, batch, targets)
    updates, moments = optimizer.update(gradient, moments, params)
    return (optax.apply_updates(params, updates), moments), loss

  init = jax.jit(classifier.init)
  params = init(jax.random.key(seed), images[:1])["params"]
  state = params, optimizer.init(params)
  rng = np.random.default_rng(seed)
  with tqdm(total=epochs * steps, unit="step") as bar:
    for _ in range(epochs):
      order = rng.permutation(len(images))[: steps * batch_size]
      for rows in order.reshape(steps, batch_size):
        batch = images[rows]
        batch = batch if augment is None else augment(batch, rng)
        state, loss = step(state, batch, labels[rows])
        bar.update()
      bar.set_postfix(loss=f"{loss:.4f}")
  return state[0]


def as_stored(params: dict) -> dict:
  """Parameters after the rounding to float16 that a file means."""
  return jax.tree.map(
    lambda x: np.asarray(np.asarray(x, np.float16), np.float32), params
  )


def accuracy(
  classifier: Classifier, params: dict, images: np.ndarray, labels: np.ndarray
) -> float:
  """Share of images (N, H, W, C) uint8 put in their class (N,)."""
  apply = jax.jit(classifier.apply)
  logits = [
    np.asarray(apply({"params": params}, batch).logits)
    for batch in batches(images, 1000)
  ]
  return float(np.mean(np.argmax(np.concatenate(logits), -1) == labels))


def scale_features(
  classifier: Classifier, params: dict, images: np.ndarray, distance: float
) -> dict:
  """Sets the unit of distance, which training leaves open.

  Args:
    classifier: The classifier.
    params: Its parameters.
    images: uint8 (N, H, W, C), real images.
    distance: Root mean square distance between the features of two of them
      afterwards.

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

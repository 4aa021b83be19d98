"""Interface of the training objectives, and what those on data share."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.typing import Array, Network
from get_jax.errors import UsageError

Params = Any
Batch = Mapping[str, Any]
Targets = Mapping[str, Params]
LossAndMetrics = tuple[jax.Array, dict[str, jax.Array]]


class Objective(abc.ABC):
  """What a training step minimises.

  The random inputs of a loss are sampled by `prepare` for the whole batch, so
  that gradient accumulation can split it: `loss` is a mean over samples.
  """

  @property
  def target_names(self) -> tuple[str, ...]:
    """Names of the networks that the loss compares with, such as a teacher.

    Their parameters are part of the training state, start as copies of the
    trained ones and get no gradient.
    """
    return ()

  @property
  def metric_names(self) -> tuple[str, ...]:
    """Names of the metrics of `loss`; the training state has a sum of each."""
    return ()

  @abc.abstractmethod
  def prepare(
    self, batch: Batch, key: jax.Array, step: Array | int = 0
  ) -> dict[str, Array | None]:
    """Samples all random inputs of the loss, except dropout.

    Args:
      batch: arrays by name, the samples along their first axis.
      key: PRNG key of the step.
      step: number of updates done, () int32.

    Returns:
      Arrays by name, the samples along their first axis.
    """

  @abc.abstractmethod
  def loss(
    self,
    params: Params,
    samples: Mapping[str, Any],
    key: jax.Array,
    targets: Targets,
  ) -> LossAndMetrics:
    """Returns the mean loss of prepared samples, and metrics.

    Args:
      params: parameters of the trained network.
      samples: arrays by name, as returned by `prepare`.
      key: PRNG key of the step, used for dropout only.
      targets: parameters of each of `target_names`.

    Returns:
      The scalar loss and further metrics, float32.
    """

  def update_targets(
    self, targets: Targets, params: Params, step: Array
  ) -> Targets:
    """Returns the targets after an update.

    Args:
      targets: parameters of each of `target_names`.
      params: parameters of the trained network after the update.
      step: number of updates done before, () int32.
    """
    del params, step
    return targets

  def restarts_optimizer(self, step: Array) -> Array | bool:
    """Returns whether the optimizer forgets its moments after an update.

    False, if it never does.

    Args:
      step: number of updates done before, () int32.
    """
    del step
    return False

  def learning_rate_factor(self, step: Array) -> Array | float:
    """Returns the factor by which an update is multiplied.

    Args:
      step: number of updates done before, () int32.
    """
    del step
    return 1.0

  def init_targets(self, params: Params) -> dict[str, Params]:
    """Returns the targets of a run that starts from `params`."""
    return {name: jax.tree.map(jnp.copy, params) for name in self.target_names}

  def __call__(
    self, params: Params, batch: Batch, key: jax.Array
  ) -> LossAndMetrics:
    """Returns the loss of a batch in the first step of a run."""
    targets = self.init_targets(params)
    return self.loss(params, self.prepare(batch, key), key, targets)


@dataclasses.dataclass(frozen=True)
class DataObjective(Objective):
  """Base class of the objectives on noised data, with label dropout.

  A batch has "image" (B, H, W, C) in [-1, 1]; for a conditional network also
  "label", (B,) class labels or (B, L, D) text.

  Attributes:
    apply: (params, x, t, y, key, **scalars) -> output of the network; the key
      is for dropout inside the network. With `augment` it also takes
      `augment_labels`, and with a teacher `train=False`.
    process: the process; it noises the data and weights the error.
    null: null conditioning: the index of the null class, or the embedding of
      the empty text; required with `label_dropout`.
    label_dropout: probability with which a label is replaced by `null`.
    augment: (key, images) -> (images, labels). The labels (B, L) describe the
      augmentation to the network. None applies no augmentation.
    process_class: class of the processes that the objective supports; None
      supports all.
    network_fields: fields of the network with the values that the objective
      needs.
    forward_mode: whether the loss takes forward-mode derivatives of the
      network, which fused attention kernels do not have.
    needs_teacher: whether a run has to start from a trained network.
    takes_teacher: whether a run may start from one with its settings.
    teacher_tasks: tasks that train such networks.
  """

  process_class: ClassVar[type[Process] | None] = None
  network_fields: ClassVar[Mapping[str, Any]] = {}
  forward_mode: ClassVar[bool] = False
  needs_teacher: ClassVar[bool] = False
  takes_teacher: ClassVar[bool] = False
  teacher_tasks: ClassVar[tuple[str, ...]] = ("denoising",)

  apply: Callable
  process: Process
  null: int | Array | None = None
  label_dropout: float = 0.0
  augment: Callable | None = None

  def __post_init__(self):
    cls = self.process_class
    if cls and not isinstance(self.process, cls):
      raise UsageError(
        f"the objective {type(self).__name__} needs {cls.description}, and not "
        f"{self.process.description}"
      )

  @classmethod
  def teacher_process(cls, process: Process) -> Process:
    """Returns the process with which a teacher is trained.

    Args:
      process: the process of the objective.
    """
    return process

  def sample_levels_and_noise(
    self, key: jax.Array, shape: tuple[int, ...], step: Array | int
  ) -> tuple[Any, jax.Array]:
    """Samples levels (B,), or a tree of them, and noise (B, H, W, C).

    Args:
      key: PRNG key.
      shape: shape of the data.
      step: number of updates done.
    """
    del step
    return self.process.sample_levels_and_noise(key, shape)

  def drop_labels(self, key: jax.Array, y: Array) -> dict[str, jax.Array]:
    """Returns "y", the labels or texts with some replaced by `null`.

    Args:
      key: PRNG key.
      y: (B,) labels or (B, L, D) text.
    """
    return {"y": self.replace_by_null(y, self.sample_dropped(key, len(y)))}

  def sample_dropped(self, key: jax.Array, batch: int) -> jax.Array:
    """Samples which labels are dropped, (batch,) bool."""
    return jax.random.bernoulli(key, as_float32(self.label_dropout), (batch,))

  def replace_by_null(self, y: Array, dropped: Array) -> jax.Array:
    """Returns labels or text with the null conditioning where dropped.

    Args:
      y: (B,) labels or (B, L, D) text.
      dropped: (B,) bool.
    """
    assert self.null is not None, "dropped labels need null"
    y = jnp.asarray(y)
    null = jnp.broadcast_to(jnp.asarray(self.null, y.dtype), y.shape)
    return jnp.where(expand(dropped, y), null, y)

  def prepare(self, batch, key, step=0):
    """See `Objective.prepare`.

    Returns:
      "x0", "levels", "noise", "y" (None without labels) and, with `augment`,
      "augment_labels".
    """
    label_key, process_key, _, augment_key = jax.random.split(key, 4)
    x0, y = as_float32(batch["image"]), batch.get("label")
    labels = {"y": y}
    if y is not None and self.label_dropout:
      labels = self.drop_labels(label_key, y)
    extra = {}
    if self.augment is not None:
      x0, extra["augment_labels"] = self.augment(augment_key, x0)
    levels, noise = self.sample_levels_and_noise(process_key, x0.shape, step)
    return {"x0": x0, "levels": levels, "noise": noise, **labels, **extra}

  def network(
    self,
    params: Params,
    samples: Mapping[str, Any],
    key: jax.Array,
    train: bool = True,
  ) -> Network:
    """Returns the network (x, t, **scalars) -> output for prepared samples.

    Args:
      params: parameters of the network.
      samples: arrays by name, as returned by `prepare`.
      key: PRNG key of the step; networks with the same key drop the same units.
      train: whether the network is evaluated as in training, with dropout.
    """
    dropout_key = jax.random.split(key, 4)[2]
    extra = {k: v for k, v in samples.items() if k == "augment_labels"}
    if not train:
      extra["train"] = False

    def net(x, t, **scalars):
      inputs = params, x, t, samples["y"], dropout_key
      return self.apply(*inputs, **extra, **scalars)

    return net

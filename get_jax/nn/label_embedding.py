"""Embedding of class labels."""

import flax.linen as nn
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError


class LabelEmbed(nn.Module):
  """Embedding table with one row per class.

  Attributes:
    num_classes: Number of classes.
    features: Width E of a row.
    null_class: Whether the table has one more row, index `num_classes`, for "no
      class", which classifier-free guidance needs.
    embedding_init: Initialiser of the table.
  """

  num_classes: int
  features: int
  null_class: bool = False
  embedding_init: nn.initializers.Initializer = nn.initializers.normal(0.02)

  @nn.compact
  def __call__(self, y: Int[Array, " B"] | None) -> Float[Array, "B E"]:
    """Looks labels up; a label out of range gives NaN.

    Raises:
      UsageError: `y` is None.
    """
    if y is None:
      raise UsageError(
        f"the network has num_classes={self.num_classes} but got no labels; "
        "expected labels of shape (batch,), or num_classes=0"
      )
    rows = self.num_classes + self.null_class
    return nn.Embed(
      rows, self.features, embedding_init=self.embedding_init, name="table"
    )(y)

"""Class labels as vectors."""

import flax.linen as nn
import jax

from get_jax.errors import UsageError


class LabelEmbed(nn.Module):
  """A table with a row for each class.

  Attributes:
    num_classes: number of real classes.
    features: width of a row.
    null_class: one more row, index `num_classes`: "no class", which
      classifier-free guidance needs.
    embedding_init: initialiser of the table.
  """

  num_classes: int
  features: int
  null_class: bool = False
  embedding_init: nn.initializers.Initializer = nn.initializers.normal(0.02)

  @nn.compact
  def __call__(self, y: jax.Array | None) -> jax.Array:
    """(B,) labels to (B, features); a label out of range gives NaN.

    Raises:
      UsageError: no labels were given.
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

"""Text encoder of CLIP (Radford et al., 2021)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError
from get_jax.nn.attention import attend
from get_jax.nn.attention_maps import sow_probabilities
from get_jax.nn.linear import Linear
from get_jax.nn.mlp import Mlp, gelu_erf
from get_jax.nn.transformer_block import layer_norm


def quick_gelu(x: jax.Array) -> jax.Array:
  """Returns x sigmoid(1.702 x), the GELU approximation of OpenAI's CLIP."""
  return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "quick_gelu": quick_gelu,
  "gelu": gelu_erf,
}


class TextBlock(nn.Module):
  """Pre-norm transformer block with causal attention.

  Attributes:
    num_heads: Number of attention heads.
    intermediate_size: Hidden width of the MLP.
    activation: Activation of the MLP.
    epsilon: Epsilon of the norms.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  intermediate_size: int
  activation: Callable[[jax.Array], jax.Array]
  epsilon: float
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
    """Applies the block; token i attends to the tokens up to i."""
    normed = layer_norm("norm1", epsilon=self.epsilon)(x)
    heads = (*x.shape[:2], self.num_heads, x.shape[-1] // self.num_heads)
    q, k, v = (
      Linear(x.shape[-1], dtype=self.dtype, name=name)(normed).reshape(heads)
      for name in ("q", "k", "v")
    )
    is_later = ~jnp.tri(x.shape[1], dtype=bool)
    mask = jnp.where(is_later, jnp.finfo(jnp.float32).min, 0.0)
    sow_probabilities(self, q, k, mask)
    attended = attend(q, k, v, mask)
    out = Linear(x.shape[-1], dtype=self.dtype, name="out")
    x = x + out(attended.reshape(x.shape))
    mlp = Mlp(
      self.intermediate_size, self.activation, dtype=self.dtype, name="mlp"
    )
    return x + mlp(layer_norm("norm2", epsilon=self.epsilon)(x))


class CLIPTextEncoder(nn.Module):
  """Text encoder of CLIP; the defaults are those of CLIP ViT-L/14.

  The fields have the names of the published `config.json` files.

  Attributes:
    vocab_size: Number of tokens in the vocabulary.
    hidden_size: Token width D.
    intermediate_size: Hidden width of the MLPs.
    num_hidden_layers: Number of blocks.
    num_attention_heads: Number of attention heads of each block.
    max_position_embeddings: Maximum length of a text in tokens.
    hidden_act: "quick_gelu" (OpenAI's) or "gelu".
    layer_norm_eps: Epsilon of the norms.
    dtype: Dtype of the matrix products; None is float32.
  """

  vocab_size: int = 49408
  hidden_size: int = 768
  intermediate_size: int = 3072
  num_hidden_layers: int = 12
  num_attention_heads: int = 12
  max_position_embeddings: int = 77
  hidden_act: str = "quick_gelu"
  layer_norm_eps: float = 1e-5
  dtype: Any = None

  @nn.compact
  def __call__(self, tokens: Int[Array, "B L"]) -> Float[Array, "B L D"]:
    """Returns the last hidden state after the final norm.

    This is the text conditioning of U-ViT. Padding is not masked: the tokens of
    a text do not attend to later tokens.

    Args:
      tokens: Token indices (int32), padded with the end token.

    Returns:
      The hidden states in float32.

    Raises:
      UsageError: The activation is unknown.
    """
    if self.hidden_act not in ACTIVATIONS:
      raise UsageError(
        f"hidden_act is {self.hidden_act!r}; expected one of: "
        + ", ".join(ACTIVATIONS)
      )
    table = nn.Embed(self.vocab_size, self.hidden_size, name="tokens")
    shape = self.max_position_embeddings, self.hidden_size
    positions = self.param("positions", nn.initializers.normal(0.01), shape)
    x = table(tokens) + positions[: tokens.shape[1]]
    for i in range(self.num_hidden_layers):
      x = TextBlock(
        self.num_attention_heads,
        self.intermediate_size,
        ACTIVATIONS[self.hidden_act],
        self.layer_norm_eps,
        self.dtype,
        name=f"blocks_{i}",
      )(x)
    return layer_norm("norm", epsilon=self.layer_norm_eps)(x)

  def inputs(self, batch: int) -> tuple[jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes of the arguments of `__call__`."""
    shape = (batch, self.max_position_embeddings)
    return (jax.ShapeDtypeStruct(shape, jnp.int32),)

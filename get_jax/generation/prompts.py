"""Captions that are encoded when a caller asks for their images."""

import os
from collections.abc import Callable, Sequence
from typing import cast

import jax
import numpy as np

from get_jax.data.texts import Texts
from get_jax.errors import UsageError
from get_jax.interop.pretrained import load_text_encoder
from get_jax.text import Tokenizer

Encode = Callable[[list[str]], np.ndarray]


class Prompts(Texts):
  """Texts that grow by the new captions of each call.

  Args:
    encode: maps n captions to embeddings (n, L, D).
    encoder: identifies the text encoder.
    shape: (L, D) that the network takes.

  Raises:
    UsageError: the encoder's embeddings have another shape.
  """

  def __init__(self, encode: Encode, encoder: str, shape: tuple[int, int]):
    super().__init__(np.zeros(1, np.int32), "prompts", encoder)
    self.shape = shape
    self._encode = encode
    self._ids: dict[str, int] = {}
    self._embeddings: list[np.ndarray] = []
    self.add([""])
    found = self._embeddings[0].shape
    if found != shape:
      raise UsageError(
        f"{encoder} makes embeddings of shape {found}; the network takes "
        f"{shape}"
      )

  def add(self, captions: Sequence[str]) -> np.ndarray:
    """Returns the ids of captions (n,), int32; new ones are encoded."""
    new = [c for c in dict.fromkeys(captions) if c not in self._ids]
    if new:
      self._embeddings.extend(np.asarray(self._encode(new), np.float32))
      self._ids |= {c: len(self._ids) + i for i, c in enumerate(new)}
    return np.array([self._ids[c] for c in captions], np.int32)

  def read(self, ids: np.ndarray) -> np.ndarray:
    """Returns the embeddings of texts `ids` (n,), float32 (n, L, D)."""
    return np.stack([self._embeddings[i] for i in ids])

  def captions(self, ids: np.ndarray) -> np.ndarray:
    """Returns the texts `ids` (n,) themselves, strings (n,)."""
    texts = list(self._ids)
    return np.array([texts[i] for i in ids])


def make_prompt_encoder(folder: str | os.PathLike[str]) -> Encode:
  """Returns a function from n captions to embeddings (n, L, D), float32.

  Captions are encoded one by one, so that one program serves any n.

  Args:
    folder: folder with the published weights and the tokenizer of CLIP.

  Raises:
    UsageError: a file is missing, or `transformers` is not installed.
  """
  model, params = load_text_encoder(folder)
  tokenize = Tokenizer(folder, model.max_position_embeddings)
  params = jax.device_put(params)

  @jax.jit
  def hidden_states(params: dict, tokens: jax.Array) -> jax.Array:
    return cast(jax.Array, model.apply({"params": params}, tokens))

  def encode(captions: list[str]) -> np.ndarray:
    states = [hidden_states(params, tokenize([text])) for text in captions]
    return np.concatenate(states)

  return encode

"""Text to tokens, by the tokenizer of `transformers`."""

import os
import pathlib

import numpy as np

from get_jax.errors import UsageError


class Tokenizer:
  """CLIP's tokenizer: lower case, byte pairs, begin and end tokens.

  Args:
    path: the folder with its files (tokenizer.json, or vocab.json and
      merges.txt), as published beside the weights.
    length: L; longer texts are cut off, shorter ones filled with the end
      token.

  Raises:
    UsageError: `transformers` is not installed, or the files are missing.
  """

  def __init__(self, path: str | os.PathLike[str], length: int):
    try:
      from transformers import CLIPTokenizer
    except ImportError as error:
      raise UsageError(
        f"encoding text needs the package transformers ({error}); run: "
        "pip install 'get_jax[text]'"
      ) from error
    folder = pathlib.Path(path)
    alone = (folder / "tokenizer.json").is_file()
    if not alone:
      for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
          raise UsageError(
            f"there is no {folder / name}; expected the tokenizer's "
            "tokenizer.json, or vocab.json and merges.txt"
          )
    try:
      self._tokenizer = CLIPTokenizer.from_pretrained(
        str(folder), local_files_only=True
      )
    except (OSError, ValueError) as error:
      raise UsageError(f"{folder} has no usable tokenizer: {error}") from error
    self.length = length

  def __call__(self, texts: list[str]) -> np.ndarray:
    """Tokens (n, L) int32."""
    found = self._tokenizer(
      texts, truncation=True, max_length=self.length, padding="max_length"
    )
    return np.array(found["input_ids"], np.int32).reshape(-1, self.length)

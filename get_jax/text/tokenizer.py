"""CLIP's tokenizer, from the package `transformers`."""

import os

import numpy as np
from jaxtyping import Int

from get_jax.errors import UsageError
from get_jax.storage.paths import as_path
from get_jax.storage.random_access import local_folder

_FILES = frozenset(
  {
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
  }
)


class Tokenizer:
  """CLIP's tokenizer: lower case, byte-pair encoding, start and end tokens.

  Args:
    path: Folder of its files (tokenizer.json, or vocab.json and merges.txt), as
      published with the weights, on disk or in a bucket.
    length: Number of tokens L; longer texts are truncated, shorter texts padded
      with the end token.

  Raises:
    UsageError: `transformers` is not installed, or the files are missing or
      invalid.
  """

  def __init__(self, path: str | os.PathLike[str], length: int):
    try:
      from transformers import CLIPTokenizer
    except ImportError as error:
      raise UsageError(
        f"encoding text needs the package transformers ({error}); run: "
        "pip install 'get_jax[text]'"
      ) from error
    folder = as_path(path)
    if not (folder / "tokenizer.json").is_file():
      for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
          raise UsageError(
            f"tokenizer file {folder / name} does not exist; expected "
            "tokenizer.json, or vocab.json and merges.txt"
          )
    try:
      self._tokenizer = CLIPTokenizer.from_pretrained(
        str(local_folder(folder, _FILES)), local_files_only=True
      )
    except (OSError, ValueError) as error:
      raise UsageError(f"{folder} holds no valid tokenizer: {error}") from error
    self.length = length

  def __call__(self, texts: list[str]) -> Int[np.ndarray, "n L"]:
    """Returns the tokens of n texts, int32."""
    encoded = self._tokenizer(
      texts, truncation=True, max_length=self.length, padding="max_length"
    )
    return np.array(encoded["input_ids"], np.int32).reshape(-1, self.length)

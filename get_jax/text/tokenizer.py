"""CLIP's tokenizer, from the package `transformers`."""

import contextlib
import os
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from get_jax.errors import UsageError, reason
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
    self.length, self._folder = length, folder
    with self._errors_of_files():
      self._tokenizer = CLIPTokenizer.from_pretrained(
        str(local_folder(folder, _FILES)), local_files_only=True
      )

  def __call__(self, texts: list[str]) -> Int[np.ndarray, "n L"]:
    """Returns the tokens of n texts, int32."""
    with self._errors_of_files():
      encoded = self._tokenizer(
        texts, truncation=True, max_length=self.length, padding="max_length"
      )
      tokens = np.array(encoded["input_ids"], np.int32)
      return tokens.reshape(len(texts), self.length)

  @contextlib.contextmanager
  def _errors_of_files(self) -> Iterator[None]:
    """Context in which any error of the library is damage of the files."""
    try:
      yield
    except BaseException as error:
      # Its code in Rust has errors that are no `Exception`.
      name = type(error).__name__
      if not isinstance(error, Exception) and name != "PanicException":
        raise
      raise UsageError(
        f"{self._folder} holds no valid tokenizer ({reason(error)})"
      ) from error

"""Readers of what Orbax, `datasets` and `transformers` parse.

See `tests.faults.readers`.
"""

import functools
import json
import shutil
import string
import tempfile
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from get_jax.data import create_source
from get_jax.text import Tokenizer
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.state import TrainState, make_init_state
from tests import data_sets
from tests.faults.reader import Folder, Reader

PARAMS = {"a": np.arange(60, dtype=np.float32), "b": {"c": np.ones((3, 4))}}


# Checkpoints.


@functools.cache
def _state() -> TrainState:
  params = jax.tree.map(jnp.float32, PARAMS)
  optimizer = optax.sgd(0.1, momentum=0.9)
  return make_init_state(lambda _: params, (), optimizer)(jax.random.key(0))


def _write_checkpoints(folder: Folder) -> None:
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(_state())
  shutil.copytree(folder / "0", folder / "1")


def _read_checkpoints(folder: Folder) -> None:
  with Checkpoints(folder) as checkpoints:
    restored = checkpoints.restore(_state())
  assert restored is not None
  for tree in (restored.params, restored.ema):
    for got, saved in zip(
      jax.tree.leaves(tree), jax.tree.leaves(PARAMS), strict=True
    ):
      np.testing.assert_array_equal(got, saved)


# Data sets of Hugging Face.


def _write_arrow(folder: Folder) -> None:
  data_sets.hugging_face_data().save_to_disk(str(folder / "data"))


def _write_parquet(folder: Folder) -> None:
  data = data_sets.hugging_face_data()
  data.to_parquet(folder / "train-00000-of-00001.parquet")


def _read_data_set(name: str) -> Callable[[Folder], Any]:
  def read(folder: Folder) -> None:
    import datasets

    # Parquet files are converted to Arrow there.
    cache = mock.patch.object(
      datasets.config, "HF_DATASETS_CACHE", str(folder / "cache")
    )
    with cache:
      source = create_source(
        "hugging_face", path=str(folder / name), image_size=8
      )
      images = source.read(np.arange(len(source)))["image"]
    assert images.shape[1:] == (8, 8, 3)

  return read


# CLIP's tokenizer.

LENGTH = 8
TEXTS = ["", "a cat", "Cats, 12 of them!", "\u00e9\u4e2d\n" * 20]


def _write_vocabulary(folder: Folder) -> None:
  letters = [*string.ascii_lowercase, *string.digits]
  words = [
    *letters, *(f"{c}</w>" for c in letters), "ca", "cat</w>",
    "<|startoftext|>", "<|endoftext|>",
  ]  # fmt: skip
  table = {word: i for i, word in enumerate(words)}
  (folder / "vocab.json").write_text(json.dumps(table))
  (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")


def _write_tokenizer(folder: Folder) -> None:
  from transformers import CLIPTokenizer

  with tempfile.TemporaryDirectory() as name:
    _write_vocabulary(Folder(name))
    CLIPTokenizer.from_pretrained(name).save_pretrained(folder)


def _tokenize(folder: Folder) -> None:
  tokens = Tokenizer(folder, LENGTH)(TEXTS)
  assert tokens.shape == (len(TEXTS), LENGTH)
  assert tokens.min() >= 0


LIBRARY_READERS = {
  "checkpoint-orbax": Reader(_write_checkpoints, _read_checkpoints),
  "arrow": Reader(_write_arrow, _read_data_set("data"), "datasets"),
  "parquet": Reader(_write_parquet, _read_data_set(""), "datasets"),
  "tokenizer-vocabulary": Reader(_write_vocabulary, _tokenize, "transformers"),
  "tokenizer": Reader(_write_tokenizer, _tokenize, "transformers"),
}

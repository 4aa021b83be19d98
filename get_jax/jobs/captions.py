"""Encodes captions once, for networks that are conditioned on text.

python -m get_jax.jobs.captions FILE DIRECTORY --encoder=clip-vit-large-patch14

FILE is captions_*.json of MS-COCO, or a .jsonl file with {"caption": "..."} on
each line. The encoder is a folder with the published weights and tokenizer of
CLIP, or their name. The encoded captions can be used for sampling
(sampling.captions). To encode training captions together with their images, use
--mode=latents.
"""

import argparse
import sys
from collections.abc import Callable
from typing import cast

import jax
import ml_collections
import numpy as np

from get_jax.builders.data import build_source
from get_jax.data.captions import captions_of_images, read_captions
from get_jax.data.texts import NO_IMAGE, texts_layout
from get_jax.errors import UsageError
from get_jax.interop.pretrained import load_text_encoder
from get_jax.jobs.local_batches import make_batch_fn
from get_jax.jobs.missing_shards import make_missing_shards
from get_jax.progress import print_ending
from get_jax.text import Tokenizer
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import EXIT_CODE, Stopped
from get_jax.weights import locate


def encode_captions(
  captions: list[list[str]],
  encoder: str,
  directory: str,
  data: str | None = None,
  tokenizer: str | None = None,
  dtype: str = "float16",
  shard_size: int = 1024,
  batch_size: int = 64,
) -> dict:
  """Encodes captions into the shards that a directory of texts lacks.

  Every process encodes its own part of the shards on its own devices. The empty
  text, which replaces dropped captions, is encoded as text 0.

  Args:
    captions: captions of each image, one or more.
    encoder: folder of the text encoder's weights, or their published name.
    directory: directory of the encoded texts.
    data: fingerprint of the source of the images; None without images.
    tokenizer: folder of the tokenizer's files; None selects the encoder's.
    dtype: dtype of the stored hidden states, which are computed in float32.
    shard_size: number of texts per shard.
    batch_size: number of texts that are encoded at once.

  Returns:
    The manifest of the directory.

  Raises:
    UsageError: a file is missing, or the directory holds other texts.
  """
  texts = ["", *(text for of_image in captions for text in of_image)]
  images = np.arange(len(captions)).repeat([len(c) for c in captions])
  images = np.concatenate([[NO_IMAGE], images]).astype(np.int32)
  encoder = locate(encoder, "text encoder", "encoder")
  model, params = load_text_encoder(encoder)
  tokenize = Tokenizer(tokenizer or encoder, model.max_position_embeddings)
  encoded = [text.encode() for text in texts]
  layout = texts_layout(
    encoded[1:],
    shard_size,
    (model.max_position_embeddings, model.hidden_size),
    dtype,
    params_digest(params),
    data,
  )

  def encode(params: dict, tokens: jax.Array) -> jax.Array:
    return cast(jax.Array, model.apply({"params": params}, tokens))

  hidden_states = make_batch_fn(encode, params, batch_size)

  def make_shard(
    indices: range, progress: Callable[[int], object]
  ) -> dict[str, np.ndarray]:
    states = []
    for start in range(indices.start, indices.stop, batch_size):
      batch = texts[start : min(start + batch_size, indices.stop)]
      tokens = tokenize(batch)
      if tokens.max() >= model.vocab_size:
        raise UsageError(
          f"the tokenizer in {tokenizer or encoder} has the token "
          f"{tokens.max()}; expected fewer than the {model.vocab_size} of the "
          "text encoder"
        )
      states.append(hidden_states(tokens))
      if not np.isfinite(states[-1]).all():
        raise FloatingPointError("the text encoder's states are not finite")
      progress(len(batch))
    return {
      "embedding": np.concatenate(states).astype(dtype),
      "image": images[indices.start : indices.stop],
      "caption": np.array(
        encoded[indices.start : indices.stop], layout.arrays["caption"][0]
      ),
    }

  new = make_missing_shards(directory, layout, make_shard, "captions", "text")
  print(
    f"captions: {layout.count - 1} of {len(captions)} images, and the empty "
    f"text, are in {directory}; {new} of them new"
  )
  return layout.to_json()


def encode_captions_of_images(
  section: ml_collections.ConfigDict, directory: str
) -> dict:
  """Encodes the captions of the images that latents are made of.

  Args:
    section: `config.latents`: `data` names the images; `captions` has the file
      of the captions and the folders of encoder and tokenizer ("" selects the
      encoder's).
    directory: directory of the encoded texts.

  Returns:
    The manifest of the directory.

  Raises:
    UsageError: an image has no captions, or the data has no file names.
  """
  captions, source = section.captions, build_source(section)
  if not hasattr(source, "names"):
    raise UsageError(
      "captions are matched to images by file name, and latents.data "
      f"{section.data.name!r} has no file names; expected 'images'"
    )
  if not captions.encoder:
    raise UsageError(
      "latents.captions.encoder is empty; expected the folder of CLIP's text "
      "encoder"
    )
  return encode_captions(
    captions_of_images(read_captions(captions.file), source.names),
    captions.encoder,
    directory,
    source.fingerprint,
    captions.tokenizer or None,
  )


def main(arguments: list[str] | None = None) -> int:
  """Encodes a file of captions.

  Args:
    arguments: command line arguments; None reads `sys.argv`.

  Returns:
    Exit code: 0 if done; 2 for invalid input, with one sentence on stderr; 75
    if stopped by a signal, with the complete shards kept.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("file", help="file of captions, .json or .jsonl")
  parser.add_argument("directory", help="directory for the encoded captions")
  parser.add_argument(
    "--encoder", required=True, help="folder of the text encoder's weights"
  )
  parser.add_argument(
    "--tokenizer", help="folder of the tokenizer (default: the encoder's)"
  )
  parser.add_argument(
    "--dtype",
    default="float16",
    choices=("float16", "float32"),
    help="dtype of the stored hidden states (default: %(default)s)",
  )
  parser.add_argument(
    "--shard_size",
    type=int,
    default=1024,
    help="captions per shard (default: %(default)s)",
  )
  parser.add_argument(
    "--batch_size",
    type=int,
    default=64,
    help="captions encoded at once (default: %(default)s)",
  )
  args = parser.parse_args(arguments)
  try:
    encode_captions(
      list(read_captions(args.file).values()),
      args.encoder,
      args.directory,
      tokenizer=args.tokenizer,
      dtype=args.dtype,
      shard_size=args.shard_size,
      batch_size=args.batch_size,
    )
  except UsageError as error:
    print_ending("Failed", str(error))
    return 2
  except Stopped as stop:
    print_ending("Stopped", f"{stop}; run the same command again to resume")
    return EXIT_CODE
  print_ending("Finished", f"captions of {args.file} in {args.directory}")
  return 0


if __name__ == "__main__":
  sys.exit(main())

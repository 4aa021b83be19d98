"""Encodes texts once, to condition networks on them and to sample from.

python -m get_jax.jobs.captions FILE DIR --encoder=clip-vit-large-patch14

FILE is captions_*.json of MS-COCO, or a .jsonl with {"caption": ...} on each
line. The encoder is a folder with CLIP's published weights and tokenizer. What
a network is trained on is encoded with its images by --mode=latents.
"""

import argparse
import math
import pathlib
import sys

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from get_jax.builders.data import build_source
from get_jax.data.captions import captions_of_images, read_captions
from get_jax.data.texts import NO_IMAGE, texts_layout
from get_jax.errors import UsageError
from get_jax.interop.pretrained import load_text_encoder
from get_jax.storage.shards import ShardWriter
from get_jax.text import Tokenizer
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import EXIT_CODE, Stopped, handle_stop_signals
from get_jax.training.processes import run_on_main
from get_jax.training.shard_assignment import assign_shards


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
  """Makes the shards that a directory of texts lacks.

  Every host encodes shards of its own on its own devices.

  Args:
    captions: of each image, one or more.
    encoder: folder of the text encoder's weights.
    directory: of the texts.
    data: fingerprint of the images' source.
    tokenizer: folder of the tokenizer's files; None is the encoder's.
    dtype: what hidden states are stored as; they are computed in float32.
    shard_size: texts per shard.
    batch_size: texts encoded at once.

  Returns:
    The manifest.

  Raises:
    UsageError: something is missing, or the directory holds other texts.
  """
  texts = ["", *(text for of_image in captions for text in of_image)]
  images = np.arange(len(captions)).repeat([len(c) for c in captions])
  images = np.concatenate([[NO_IMAGE], images]).astype(np.int32)
  model, params = load_text_encoder(encoder)
  tokenize = Tokenizer(tokenizer or encoder, model.max_position_embeddings)
  written = [text.encode() for text in texts]
  layout = texts_layout(
    written[1:],
    shard_size,
    (model.max_position_embeddings, model.hidden_size),
    dtype,
    params_digest(params),
    data,
  )
  host = jax.process_index()
  writer = ShardWriter(pathlib.Path(directory), layout, process_index=host)
  writer.lock()
  new = run_on_main(
    lambda: sum(len(layout.shard_range(s)) for s in writer.missing())
  )
  run = _runner(model, params, batch_size)
  with (
    handle_stop_signals() as stop_requested,
    assign_shards(writer.missing) as shards,
    tqdm(desc="captions", unit="text", disable=host != 0) as bar,
  ):
    bar.reset(sum(len(layout.shard_range(s)) for s in shards))
    for shard in shards:
      if stop_requested(f"captions, shard {shard}"):
        raise Stopped(f"captions stopped before shard {shard}")
      here = layout.shard_range(shard)
      states = []
      for start in range(here.start, here.stop, batch_size):
        part = texts[start : min(start + batch_size, here.stop)]
        states.append(run(tokenize(part)))
        bar.update(len(part))
      arrays = {
        "embedding": np.concatenate(states).astype(dtype),
        "image": images[here.start : here.stop],
        "caption": np.array(
          written[here.start : here.stop], layout.arrays["caption"][0]
        ),
      }
      writer.write(shard, arrays)
  print(
    f"captions: {layout.count - 1} of {len(captions)} images, and the empty "
    f"one, in {directory}; {new} of them new"
  )
  return layout.to_json()


def encode_captions_of_images(section, directory: str) -> dict:
  """Encodes the captions of the images that latents are made of.

  Args:
    section: `config.latents`: data, and captions with their file, and the
      folders of encoder and tokenizer ("" is the encoder's).
    directory: of the texts.

  Returns:
    The manifest.

  Raises:
    UsageError: an image has no captions, or the data has no file names.
  """
  captions, source = section.captions, build_source(section)
  if not hasattr(source, "names"):
    raise UsageError(
      f"captions are found by file name, and latents.data {section.data.name!r}"
      " has none; expected 'images'"
    )
  if not captions.encoder:
    raise UsageError(
      "latents.captions.encoder is empty; expected the folder of CLIP's text "
      "encoder"
    )
  found = captions_of_images(read_captions(captions.file), source.names)
  return encode_captions(
    found,
    captions.encoder,
    directory,
    source.fingerprint,
    captions.tokenizer or None,
  )


def _runner(model, params, batch_size: int):
  """Tokens (n <= batch_size, L) to hidden states over this host's devices."""
  devices = jax.local_devices()
  # As many devices as share a batch evenly.
  mesh = Mesh(np.array(devices[: math.gcd(batch_size, len(devices))]), "data")
  split = NamedSharding(mesh, PartitionSpec("data"))
  params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
  apply = jax.jit(lambda params, x: model.apply({"params": params}, x))

  def run(tokens):
    count = len(tokens)
    padded = np.pad(tokens, [(0, batch_size - count), (0, 0)])
    states = np.asarray(apply(params, jax.device_put(padded, split)))[:count]
    if not np.isfinite(states).all():
      raise FloatingPointError("the text encoder's states are not finite")
    return states

  return run


def main(arguments: list[str] | None = None) -> int:
  """Encodes a file of captions.

  Exit codes: 0 done; 2 bad input, told in one sentence; 75 stopped by a signal
  with the complete shards kept.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("file", help="of captions")
  parser.add_argument("directory", help="of the encoded texts")
  parser.add_argument("--encoder", required=True, help="folder of the weights")
  parser.add_argument("--tokenizer", help="folder, if not the encoder's")
  parser.add_argument(
    "--dtype", default="float16", choices=("float16", "float32")
  )
  parser.add_argument("--shard_size", type=int, default=1024)
  parser.add_argument("--batch_size", type=int, default=64)
  given = parser.parse_args(arguments)
  try:
    encode_captions(
      list(read_captions(given.file).values()),
      given.encoder,
      given.directory,
      tokenizer=given.tokenizer,
      dtype=given.dtype,
      shard_size=given.shard_size,
      batch_size=given.batch_size,
    )
  except UsageError as error:
    print(error, file=sys.stderr)
    return 2
  except Stopped as stop:
    print(f"{stop}; run the same command again to go on", file=sys.stderr)
    return EXIT_CODE
  return 0


if __name__ == "__main__":
  sys.exit(main())

"""Text conditioning from captions and images to training and samples."""

import json
import shutil
import string

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from configs import uvit_s2_coco
from get_jax.aot.lower import lower_step
from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.builders.objective import build_objective
from get_jax.data import Pipeline, check, create_source
from get_jax.data.captions import read_captions
from get_jax.data.texts import StoredTexts, texts_layout
from get_jax.generation.image_sampler import ImageSampler
from get_jax.interop.official import export_official
from get_jax.interop.pretrained import load_text_encoder
from get_jax.jobs import captions
from get_jax.models.parameters import abstract_params
from get_jax.modes import evaluate, latents, sample, train
from get_jax.storage.shards import ShardWriter
from get_jax.text import CLIPTextEncoder, Tokenizer
from get_jax.training.checkpoints import Checkpoints, load_params
from get_jax.training.metrics import read_metrics
from get_jax.training.sharding import make_mesh

LENGTH, WIDTH = 6, 8
WORDS = [f"{n} cat{'s' * n}" for n in range(13)]
NAMES = [f"COCO_{n:03d}.png" for n in range(5)]
OWNERS = [3, 0, 0, 1, 2, 4, 3, 3, 1, 2, 4, 4, 0]  # image of each caption


def random_params(model, scale):
  rng = np.random.RandomState(0)
  return jax.tree.map(
    lambda a: scale * rng.standard_normal(a.shape).astype(np.float32),
    abstract_params(model),
  )


def coco(path):
  content = {
    "images": [{"id": 50 - n, "file_name": NAMES[n]} for n in (4, 1, 0, 2, 3)],
    "annotations": [
      {"id": n, "image_id": 50 - OWNERS[n], "caption": WORDS[n]}
      for n in range(12, -1, -1)
    ],
  }
  path.write_text(json.dumps(content))
  return path


def of_image(image):
  return [w for w, owner in zip(WORDS, OWNERS, strict=True) if owner == image]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
  """A folder with the weights and the tokenizer of a tiny text encoder."""
  pytest.importorskip("transformers", reason="text needs get_jax[text]")
  folder = tmp_path_factory.mktemp("clip")
  letters = [*string.ascii_lowercase, *string.digits]
  vocabulary = [
    *letters, *(f"{c}</w>" for c in letters), "ca", "cat</w>",
    "<|startoftext|>", "<|endoftext|>",
  ]  # fmt: skip
  table = {word: i for i, word in enumerate(vocabulary)}
  (folder / "vocab.json").write_text(json.dumps(table))
  (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
  config = dict(
    vocab_size=len(vocabulary),
    hidden_size=WIDTH,
    intermediate_size=12,
    num_attention_heads=2,
    num_hidden_layers=1,
    max_position_embeddings=LENGTH,
  )
  (folder / "config.json").write_text(json.dumps(config))
  model = CLIPTextEncoder(**config)
  params = random_params(model, 1.0)
  safetensors.numpy.save_file(
    export_official(model, params), folder / "model.safetensors"
  )
  return folder


def test_caption_files(tmp_path):
  found = read_captions(coco(tmp_path / "captions.json"))
  assert list(found) == [NAMES[n] for n in (4, 1, 0, 2, 3)]
  assert all(found[NAMES[n]] == of_image(n) for n in range(5))
  path = tmp_path / "prompts.jsonl"
  path.write_text('{"caption": "a"}\n\n{"caption": "b"}\n')
  assert list(read_captions(path).values()) == [["a"], ["b"]]
  path.write_text(
    '{"file_name": "0", "caption": "a"}\n{"file_name": "0", "caption": "b"}\n'
  )
  assert read_captions(path) == {"0": ["a", "b"]}
  for text, what in {
    '{"caption": 3}': "has the caption 3 of line 1",
    '{"caption": " "}': "has the caption ' ' of line 1",
    '{"text": "a"}': "is not a caption file .KeyError",
    "a cat": "is not a caption file",
    "": "contains no captions",
  }.items():
    path.write_text(text)
    with pytest.raises(ValueError, match=what):
      read_captions(path)


def test_encoding_resuming_and_reading(encoder, tmp_path, capsys):
  file, folder = coco(tmp_path / "captions.json"), tmp_path / "texts"
  command = [str(file), str(folder), f"--encoder={encoder}", "--shard_size=5"]
  command += ["--batch_size=3", "--dtype=float32"]
  assert captions.main(command) == 0
  assert check.main([str(folder)]) == 0
  texts = StoredTexts(folder)
  assert (len(texts), texts.shape) == (5, (LENGTH, WIDTH))

  numbers = np.arange(14)
  expected = ["", *(w for n in (4, 1, 0, 2, 3) for w in of_image(n))]
  assert texts.captions(numbers).tolist() == expected
  model, params = load_text_encoder(encoder)
  tokens = Tokenizer(encoder, LENGTH)(expected)
  assert tokens.shape == (14, LENGTH)
  states = jax.jit(model.apply)({"params": params}, tokens)
  np.testing.assert_allclose(texts.read(numbers), states, atol=1e-5)
  np.testing.assert_array_equal(texts.null, texts.read(numbers[:1])[0])

  (folder / "00001.json").unlink()
  before = {p: p.read_bytes() for p in folder.glob("0*")}
  assert captions.main(command) == 0
  assert "; 5 of them new" in capsys.readouterr().out
  assert (
    before.items() <= {p: p.read_bytes() for p in folder.glob("0*")}.items()
  )
  file.write_text(file.read_text().replace("cat", "dog"))
  assert captions.main(command) == 2
  assert (
    "holds texts made with other settings: captions" in capsys.readouterr().err
  )


def test_captions_are_encoded_with_their_images(
  encoder, tiny_autoencoder, tmp_path
):
  config = uvit_s2_coco.get_config()
  (tmp_path / "images").mkdir()
  pixels = np.random.RandomState(0).randint(0, 256, (5, 8, 8, 3), np.uint8)
  for name, image in zip(NAMES, pixels, strict=True):
    Image.fromarray(image).save(tmp_path / "images" / name)
  config.autoencoder.weights = str(tiny_autoencoder(latent_channels=4)[0])
  config.autoencoder.name = ""
  config.latents.data.path = str(tmp_path / "images")
  config.latents.data.image_size = 8
  config.latents.captions.file = str(coco(tmp_path / "captions.json"))
  config.data.path = str(tmp_path / "latents")
  config.data.captions = str(tmp_path / "texts")
  with pytest.raises(ValueError, match=r"latents.captions.encoder is empty"):
    latents.run(config, str(tmp_path / "run"))
  config.latents.captions.encoder = str(encoder)
  latents.run(config, str(tmp_path / "run"))
  source = create_source(**config.data)
  assert source.image_shape == (4, 4, 4)
  first = [of_image(n)[0] for n in range(5)]
  numbers = source.texts.ids_of_images(np.arange(5))
  assert source.texts.captions(numbers).tolist() == first
  np.testing.assert_array_equal(
    source.read(np.arange(5))["label"], source.texts.read(numbers)
  )
  (tmp_path / "images" / "other.png").write_bytes(
    (tmp_path / "images" / NAMES[0]).read_bytes()
  )
  with pytest.raises(ValueError, match=r"the image other\.png has no captions"):
    latents.run(config, str(tmp_path / "run"))


# The tests below use random embeddings and need no tokenizer.


def write_texts(folder, data=None, images=6, encoder="made"):
  """Writes texts of `images` images, with 1, 2, 3, 1, 2, ... captions each."""
  owners = [n for n in range(images) for _ in range(1 + n % 3)]
  words = ["", *(f"{n} of {owner}" for n, owner in enumerate(owners))]
  layout = texts_layout(
    [w.encode() for w in words[1:]], 4, (LENGTH, WIDTH), "float16", encoder,
    data,
  )  # fmt: skip
  writer, rng = ShardWriter(folder, layout), np.random.RandomState(images)
  shape = (len(words), LENGTH, WIDTH)
  states = rng.standard_normal(shape).astype(np.float16)
  images = np.array([-1, *owners], np.int32)
  for shard in writer.missing():
    here = list(layout.shard_range(shard))
    writer.write(
      shard,
      {
        "embedding": states[here],
        "image": images[here],
        "caption": np.array([words[i].encode() for i in here]).astype(
          layout.arrays["caption"][0]
        ),
      },
    )
  return states.astype(np.float32)


def write_latents(folder, data="images", count=6):
  from get_jax.data.latents import latents_layout

  layout = latents_layout(
    count, 4, (8, 8, 8), "float32", None, 0.5, 0.0, False, "vae", data
  )
  writer, rng = ShardWriter(folder, layout), np.random.RandomState(0)
  moments = rng.standard_normal((count, 1, 8, 8, 8)).astype(np.float32)
  for shard in writer.missing():
    writer.write(shard, {"moments": moments[list(layout.shard_range(shard))]})


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  """A tiny version of the published experiment, on random data."""
  folder = tmp_path_factory.mktemp("data")
  write_texts(folder / "texts", "images")
  write_texts(folder / "val", images=4)
  write_latents(folder / "latents")
  config = uvit_s2_coco.get_config("smoke")
  config.model.context_tokens, config.model.context_features = LENGTH, WIDTH
  config.data = dict(
    name="captioned_latents",
    path=str(folder / "latents"),
    captions=str(folder / "texts"),
    scaling_factor=0.23010,
  )
  config.sampling.captions = str(folder / "val")
  config.sampling.count = 7
  config.batch_size, config.num_steps = 8, 4
  config.log_every, config.checkpoint_every, config.preview_every = 1, 2, 4
  return config


def test_every_caption_is_sampled_as_a_function_of_position(config):
  source = create_source(**config.data)
  texts = source.texts
  pipeline = Pipeline(source, 30, seed=3)
  seen = set()
  for step in range(20):
    batch = pipeline.batch(step)
    found = {embedding.tobytes() for embedding in batch["label"]}
    seen |= found
  every = texts.read(np.arange(1, 13))
  assert seen == {embedding.tobytes() for embedding in every}
  again = Pipeline(
    create_source(**config.data), 30, 3, np.arange(15, 30)
  ).batch(19)
  for name, array in again.items():
    np.testing.assert_array_equal(array, batch[name][15:])
  assert batch["label"].dtype == np.float32

  chosen = texts.ids_of_samples(np.arange(12))
  np.testing.assert_array_equal(
    texts.ids_of_samples(np.array([7, 2])), chosen[[7, 2]]
  )
  owners = np.array([int(c.split()[-1]) for c in texts.captions(chosen)])
  assert sorted(owners[:6]) == list(range(6))
  np.testing.assert_array_equal(owners[6:], owners[:6])


def test_training_resumes_and_samples_store_their_captions(config, tmp_path):
  train.run(config, tmp_path / "whole")
  # The run as it was after two steps.
  shutil.copytree(tmp_path / "whole", tmp_path / "parts")
  shutil.rmtree(tmp_path / "parts" / "checkpoints" / "4")
  train.run(config, tmp_path / "parts")
  jax.tree.map(
    np.testing.assert_array_equal,
    load_params(tmp_path / "whole"),
    load_params(tmp_path / "parts"),
  )
  losses = [
    [r["loss"] for r in read_metrics(tmp_path / name)]
    for name in ("whole", "parts")
  ]
  assert losses[0] == losses[1] and len(losses[0]) == 4

  sample.run(config, tmp_path / "whole")
  folder = tmp_path / "whole" / "samples"
  texts = StoredTexts(config.sampling.captions)
  expected = texts.captions(texts.ids_of_samples(np.arange(7))).tolist()
  with np.load(folder / "latents.npz") as file:
    stored = dict(file)
  assert stored["arr_1"].tolist() == expected
  for name in ("latents.txt", "00000004.txt"):
    assert (folder / name).read_text().splitlines() == expected

  generator = build_generator(config)
  assert generator.settings["captions"] == texts.fingerprint
  mesh = make_mesh((-1, 1, 1), jax.devices()[:2])
  params, key = load_params(tmp_path / "whole"), jax.random.key(0)
  maker = ImageSampler(generator, key, 8, mesh)
  images, chosen = maker.sample(params, np.arange(7))
  alone, same = maker.sample(params, np.array([5, 1]))
  np.testing.assert_array_equal(same, chosen[[5, 1]])
  np.testing.assert_allclose(alone, images[[5, 1]], atol=1e-5)
  other, _ = maker.sample(params, np.array([5]), np.array([chosen[5] % 7 + 1]))
  assert np.abs(other - images[5]).max() > 1e-4
  with pytest.raises(ValueError, match="text 8 is out of range: there are"):
    maker.sample(params, np.array([5]), np.array([8]))


def test_scores_store_the_fingerprint_of_their_texts(tmp_path):
  config = uvit_s2_coco.get_config("smoke")
  config.model.in_channels = 1
  config.model.context_tokens, config.model.context_features = LENGTH, WIDTH
  config.data.channels, config.data.text = 1, (LENGTH, WIDTH)
  config.autoencoder.name = ""
  config.sampler.num_steps = 3
  config.evaluation.update(
    preset="", extractor="digits-v1", scores=("fid",), count=16
  )
  with Checkpoints(tmp_path / "checkpoints") as checkpoints:
    checkpoints.save_params(random_params(build_model(config), 0.1))
  evaluate.run(config, tmp_path)
  found = json.loads((tmp_path / "results" / "evaluate.json").read_text())
  texts = build_generator(config).conditioning.texts
  assert found["protocol"]["captions"] == texts.fingerprint
  assert found["scores"]["fid[digits-v1]"] > 0


def test_a_step_is_lowered_without_data():
  config = uvit_s2_coco.get_config("smoke")
  config.data = uvit_s2_coco.get_config().data
  config.sampling.captions = "nowhere"
  for kind in ("train", "sample"):
    step = lower_step(config, kind, jax.devices())
    assert step.images == 8
  with pytest.raises(ValueError, match="nowhere holds no texts"):
    build_generator(config)


def test_dropped_texts_become_the_empty_text(config):
  config = config.copy_and_resolve_references()
  model, source = build_model(config), create_source(**config.data)
  condition = build_conditioning(config, model, source)
  empty = source.texts.read(np.zeros(1, int))
  np.testing.assert_array_equal(condition.null, empty[0])
  params, key = random_params(model, 0.3), jax.random.key(1)
  batch = source.read(np.arange(6))

  def loss(share):
    config.label_dropout = share
    objective = build_objective(config, model, conditioning=condition)
    return jax.jit(lambda y: objective(params, batch | {"label": y}, key)[0])

  texts, empty_texts = batch["label"], empty.repeat(6, 0)
  dropped, kept = loss(1.0), loss(0.0)
  assert dropped(texts) == dropped(empty_texts)
  np.testing.assert_allclose(dropped(texts), kept(empty_texts), rtol=1e-6)
  assert abs(kept(texts) - kept(empty_texts)) > 1e-5


def test_invalid_texts_are_refused(config, tmp_path):
  other = config.copy_and_resolve_references()
  write_texts(tmp_path / "few", "images", images=5)
  write_texts(tmp_path / "theirs", "others")
  for name in ("few", "theirs"):
    other.data.captions = str(tmp_path / name)
    with pytest.raises(ValueError, match="has the captions of . images"):
      create_source(**other.data)
  other = config.copy_and_resolve_references()
  write_texts(tmp_path / "val", images=4, encoder="another")
  other.sampling.captions = str(tmp_path / "val")
  with pytest.raises(ValueError, match="by different encoders, made and anoth"):
    train.run(other, tmp_path / "run")
  other.model.context_tokens = 7
  with pytest.raises(ValueError, match=r"texts of shape \(7, 8\); .* \(6, 8\)"):
    build_generator(other)
  other.sampling.captions = ""
  other.data = dict(
    name="synthetic", image_size=8, channels=4, num_classes=0, size=8
  )
  with pytest.raises(ValueError, match="'synthetic' has none"):
    build_generator(other)

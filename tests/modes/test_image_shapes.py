"""Images whose height and width differ, through all modes."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from get_jax.builders.model import build_model
from get_jax.builders.process import build_augmentation
from get_jax.data import create_source
from get_jax.evaluation.extractors.classifier import Classifier, save_classifier
from get_jax.models import create_model
from get_jax.modes import evaluate, latents, pairs, sample, summary, train
from tests.helpers import tiny_config, tiny_job

pytestmark = pytest.mark.usefixtures("one_device")

SIZE = (8, 16)
BLOCKS = dict(patch_size=4, hidden_size=16, num_heads=2, downsample=1)
NETWORKS = {
  "DiT": dict(name="DiT", **BLOCKS, depth=1),
  "U-ViT": dict(name="U-ViT", **BLOCKS, depth=2),
  "DiffiT": dict(name="DiffiT", **BLOCKS, depth=1),
  "SongUNet": dict(
    name="SongUNet",
    model_channels=8,
    channel_mult=(1,),
    num_blocks=1,
    attn_resolutions=(8,),
  ),
}
STUDENTS = {
  "GET": dict(
    name="GET",
    **BLOCKS,
    injection_depth=1,
    equilibrium_depth=1,
    image_size=SIZE,
  ),
  "ViT": dict(name="ViT", **BLOCKS, depth=1, image_size=SIZE),
}


def synthetic(channels, size=SIZE):
  return dict(
    name="synthetic", image_size=size, channels=channels, num_classes=3, size=32
  )


def config_of(network, **changes):
  config = tiny_config(num_steps=2, log_every=1, sampler__num_steps=2)
  size = {} if "image_size" in changes else dict(image_size=SIZE)
  common = dict(**size, in_channels=3, num_classes=3)
  config.model = {**NETWORKS[network], **common, **changes}
  config.data = synthetic(3)
  return config


def read(path):
  return json.loads(path.read_text("utf-8"))


def arrays(path):
  with np.load(path) as file:
    return file["arr_0"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
  """An extractor of features for images of 8x16, with random weights."""
  path = tmp_path_factory.mktemp("extractor") / "classifier.npz"
  module = Classifier((4,), 8, 3)
  init = jax.jit(module.init)
  params = init(jax.random.key(0), np.zeros((1, *SIZE, 3)))["params"]
  save_classifier(path, "wide", module, params, (*SIZE, 3))
  return str(path)


@pytest.mark.parametrize("network", NETWORKS)
def test_training_sampling_and_summary(network, tmp_path):
  config = config_of(network)
  if network == "DiT":
    config.preview_every = 2
  train.run(config, tmp_path)
  lines = (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()
  losses = [json.loads(line)["loss"] for line in lines]
  assert len(losses) == 2 and np.isfinite(losses).all()
  sample.run(config, tmp_path)
  assert arrays(tmp_path / "samples/samples.npz").shape == (16, *SIZE, 3)
  # Four rows and columns of images that are enlarged to 32x64, with gaps.
  for name in ("samples", *(("00000002",) if network == "DiT" else ())):
    with Image.open(tmp_path / f"samples/{name}.png") as grid:
      assert (grid.height, grid.width) == (4 * 34 + 2, 4 * 66 + 2)
  summary.run(config, tmp_path)
  wide = read(tmp_path / "results/summary.json")
  turned = dict(image_size=SIZE[::-1])
  if network == "SongUNet":
    turned["attn_resolutions"] = (16,)  # heights
  summary.run(config_of(network, **turned), tmp_path / "high")
  high = read(tmp_path / "high/results/summary.json")
  figures = "params", "params_position_table", "macs"
  assert [wide[k] for k in figures] == [high[k] for k in figures]


def test_evaluation(classifier, tmp_path):
  config = config_of("DiT")
  config.evaluation.update(
    extractor="classifier",
    extractor_path=classifier,
    scores=("fid", "class_accuracy"),
    count=32,
  )
  train.run(config, tmp_path)
  evaluate.run(config, tmp_path)
  scores = read(tmp_path / "results/evaluate.json")["scores"]
  assert np.isfinite(scores["fid[wide]"])


def job_of(student):
  config = tiny_job(
    teacher__num_steps=2,
    num_steps=2,
    pairs__count=32,
    sampling__count=8,
    sampling__batch_size=8,
    report__enabled=False,
  )
  config.teacher.model.image_size = SIZE
  config.teacher.data = {**synthetic(1), "num_classes": 10}
  config.model = {**STUDENTS[student], "in_channels": 1, "num_classes": 10}
  if student == "ViT":
    config.equilibrium = {}
  return config


@pytest.fixture(scope="module")
def get_job(one_device, tmp_path_factory):
  """The workdir of GET's job, with a teacher and pairs that ViT shares."""
  workdir = tmp_path_factory.mktemp("get") / "run"
  train.run(job_of("GET"), workdir)
  return workdir


@pytest.mark.parametrize("student", STUDENTS)
def test_pairs_and_students(student, get_job, tmp_path):
  config, workdir = job_of(student), get_job
  if student == "ViT":
    workdir = tmp_path / "run"
    for folder in ("teacher", "pairs"):
      shutil.copytree(get_job / folder, workdir / folder)
    train.run(config, workdir)
  assert read(workdir / "results/pairs.json")["image_shape"] == [*SIZE, 1]
  pairs.run(config, workdir)
  sample.run(config, workdir)
  assert arrays(workdir / "samples/samples.npz").shape == (8, *SIZE, 1)


def test_latents(tiny_autoencoder, tmp_path):
  weights, _, _ = tiny_autoencoder(latent_channels=4)
  config = config_of("DiffiT", in_channels=4)
  config.autoencoder.update(name="SD", weights=str(weights))
  config.data = dict(name="latents", path=str(tmp_path / "latents"))
  config.latents = dict(
    data=synthetic(3, (16, 32)),
    dtype="float32",
    flips=True,
    shard_size=16,
    batch_size=8,
  )
  latents.run(config, tmp_path / "run")
  source = create_source("latents", path=tmp_path / "latents")
  assert source.image_shape == (*SIZE, 4)
  train.run(config, tmp_path / "run")
  sample.run(config, tmp_path / "run")
  found = arrays(tmp_path / "run/samples/samples.npz")
  assert found.shape == (16, 16, 32, 3)


def test_rotations_by_90_degrees_need_squares():
  config = config_of("SongUNet", augment_dim=11)
  config.augmentation = dict(p=0.5, rotate_int=1.0)
  with pytest.raises(ValueError, match="images are 8x16; expected 0"):
    build_augmentation(config, build_model(config))
  config.model.image_size = (8, 8)
  assert build_augmentation(config, build_model(config)).rotate_int == 1.0


def test_sizes_as_in_a_config_in_json():
  for field in ("image_size", "input_size"):
    fields = {**NETWORKS["DiT"], field: [8, 16]}
    assert create_model(**fields).input_size == (8, 16)

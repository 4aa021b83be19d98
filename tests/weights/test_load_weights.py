"""Weights by name: loaded, converted once, and named in configs."""

import dataclasses

import jax
import numpy as np
import pytest
import safetensors.numpy

from get_jax.builders import evaluator
from get_jax.builders.decoder import build_autoencoder
from get_jax.builders.evaluator import build_evaluator, build_extractor
from get_jax.errors import UsageError
from get_jax.evaluation.extractors.registry import digits_extractor
from get_jax.interop.official import export_official
from get_jax.jobs.initial_params import load_params_or_init
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params
from get_jax.weights import converted, fetch, load, locate, registry
from get_jax.weights.entry import File
from tests import torch_writer
from tests.helpers import tiny_config

DIT = dict(name="DiT-S/8", hidden_size=32, depth=1, num_heads=2, image_size=64)
GET = dict(
  name="GET-T/2", hidden_size=64, num_heads=1, injection_depth=1,
  equilibrium_depth=1, image_size=8,
)  # fmt: skip


def random_params(model):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32),
    abstract_params(model),
  )


def official_file(path, fields, wrap=dict):
  """Writes random parameters as `torch.save` does; returns them."""
  model = create_model(**fields)
  params = random_params(model)
  tensors = export_official(model, params)
  state = {name: torch_writer.tensor(array) for name, array in tensors.items()}
  torch_writer.save_zip(path, wrap(state))
  return params


def assert_equal(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.fixture
def dit(publish, tmp_path):
  """Parameters of a tiny DiT, published as "tiny"."""
  params = official_file(tmp_path / "dit.pt", DIT)
  publish((tmp_path / "dit.pt").read_bytes(), model=DIT)
  return params


@pytest.fixture
def conversions(monkeypatch):
  """The files that are converted."""
  files = []
  convert = converted.import_checkpoint

  def spy(path, model):
    files.append(path)
    return convert(path, model)

  monkeypatch.setattr(converted, "import_checkpoint", spy)
  return files


def test_parameters_are_converted_once(dit, conversions):
  assert_equal(load("tiny"), dit)
  assert_equal(load("tiny"), dit)
  assert conversions == [fetch("tiny")]


def test_a_damaged_conversion_is_repeated(dit, conversions, folder):
  load("tiny")
  (stored,) = folder.rglob("*.safetensors")
  content = bytearray(stored.read_bytes())
  content[-1] ^= 1
  stored.write_bytes(content)
  assert_equal(load("tiny"), dit)
  assert len(conversions) == 2


def test_another_version_converts_again(dit, conversions, monkeypatch):
  load("tiny")
  monkeypatch.setattr(converted, "VERSION", converted.VERSION + 1)
  assert_equal(load("tiny"), dit)
  assert len(conversions) == 2


def test_a_training_checkpoint_placed_by_hand(publish, folder, monkeypatch):
  entry, _ = publish(b"", model=GET)
  manual = dataclasses.replace(entry, files=(File("get.pth"),))
  monkeypatch.setitem(registry.ENTRIES, "tiny", manual)
  (folder / "tiny").mkdir(parents=True)
  params = official_file(
    folder / "tiny" / "get.pth", GET, lambda state: {"ema": state}
  )
  assert_equal(load("tiny"), params)


def test_a_file_that_does_not_fit_its_entry(publish, tmp_path, folder):
  official_file(tmp_path / "dit.pt", DIT)
  publish((tmp_path / "dit.pt").read_bytes(), model=DIT | {"depth": 2})
  with pytest.raises(UsageError, match=r"file\.bin: the checkpoint does not"):
    load("tiny")
  assert not list(folder.rglob("*.safetensors"))


def test_a_run_that_starts_from_published_weights(publish, tmp_path):
  config = tiny_config(init_from="tiny")
  params = official_file(tmp_path / "digits.pt", config.model)
  publish((tmp_path / "digits.pt").read_bytes(), model=config.model)
  loaded, source = load_params_or_init(config, tmp_path / "run")
  assert_equal(loaded, params)
  assert source == "published tiny"


def test_a_near_name_in_init_from(tmp_path):
  config = tiny_config(init_from="DiT-XL/2-265")
  with pytest.raises(UsageError, match=r"does not exist; .*'DiT-XL/2-256'"):
    load_params_or_init(config, tmp_path)


def test_an_autoencoder_by_name(publish, server, tiny_autoencoder, conversions):
  path, model, params = tiny_autoencoder(latent_channels=2)
  entry, resource = publish(b"", kind="autoencoder")
  files = []
  for file in sorted(path.iterdir()):
    files.append(File(file.name, f"{server.address}/{file.name}"))
    server.resources[f"/{file.name}"] = dataclasses.replace(
      resource, content=file.read_bytes()
    )
  registry.ENTRIES["tiny"] = dataclasses.replace(entry, files=tuple(files))
  section = tiny_config(autoencoder__weights="tiny").autoencoder
  section.dtype = "bfloat16"
  for _ in range(2):
    built, loaded = build_autoencoder(section)
    assert_equal(loaded, params)
    assert built.latent_channels == model.latent_channels
  assert built.dtype == "bfloat16"
  assert len(conversions) == 1
  assert_equal(load("tiny"), params)


def test_reference_statistics_by_name(publish, tmp_path):
  dim = digits_extractor().dim
  mean = np.arange(dim, dtype=float)
  np.savez(tmp_path / "reference.npz", mu=mean, sigma=np.eye(dim))
  publish((tmp_path / "reference.npz").read_bytes(), kind="reference")
  config = tiny_config(evaluation__reference="tiny")
  statistics = build_evaluator(config).reference.summary.statistics
  np.testing.assert_array_equal(statistics.mean, mean)
  with pytest.raises(UsageError, match="tiny has no parameters, it is refer"):
    load("tiny")


@pytest.mark.parametrize("value", ["", "inception"])
def test_the_extractor_is_fetched(publish, tmp_path, monkeypatch, value):
  publish(b"weights", name="inception", kind="extractor")
  monkeypatch.setattr(
    evaluator.inception_weights, "DEFAULT_PATH", tmp_path / "none"
  )
  monkeypatch.setattr(
    evaluator, "create_extractor", lambda _, **options: options
  )
  section = tiny_config(evaluation__extractor="inception").evaluation
  section.extractor_path = value
  options = build_extractor(section, "tf1")
  assert options["path"] == str(fetch("inception"))


def test_an_extractor_file_placed_by_hand_in_the_old_place(
  tmp_path, monkeypatch
):
  file = tmp_path / "inception.pth"
  file.write_bytes(b"weights")
  monkeypatch.setattr(evaluator.inception_weights, "DEFAULT_PATH", file)
  monkeypatch.setattr(
    evaluator, "create_extractor", lambda _, **options: options
  )
  section = tiny_config(evaluation__extractor="inception").evaluation
  assert build_extractor(section, "")["path"] == str(file)


def test_a_path_takes_precedence_over_a_name(
  publish, server, tmp_path, monkeypatch
):
  publish(b"published", kind="reference")
  (tmp_path / "tiny").mkdir()
  monkeypatch.chdir(tmp_path)
  assert locate("tiny", "reference", "key") == "tiny"
  assert not server.requests


def test_paths_in_buckets_are_left_alone():
  assert locate("gs://bucket/a", "reference", "key") == "gs://bucket/a"


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (
      "sd-vae-ft-emma",
      "^key=sd-vae-ft-emma is neither .* autoencoder; did you ",
    ),
    ("nonsense", "--mode=weights lists the names"),
    ("DiT-XL/2-256", "is of the kind 'network'; expected .* 'autoencoder'"),
  ],
)
def test_wrong_names(value, message, folder):
  with pytest.raises(UsageError, match=message):
    locate(value, "autoencoder", "key")


def test_a_conversion_that_cannot_be_stored(dit, monkeypatch, caplog):
  def fail(*_):
    raise OSError("no space")

  monkeypatch.setattr(safetensors.numpy, "save_file", fail)
  assert_equal(load("tiny"), dit)
  assert "converted again next time (no space)" in caplog.text

"""Samples of latent models are decoded to images on the sampling devices."""

import functools
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from configs import dit_xl2
from get_jax.autoencoder import create_autoencoder, decode_in_parts
from get_jax.builders import evaluator as scoring
from get_jax.builders.decoder import build_decoder
from get_jax.evaluation import to_uint8
from get_jax.evaluation.extractors.registry import CallableExtractor
from get_jax.models.parameters import abstract_params
from get_jax.modes import convert, evaluate, sample, train
from get_jax.training.sharding import BATCH_SPEC, make_mesh
from tests.helpers import run_main


@pytest.fixture(scope="module")
def autoencoder(tiny_autoencoder):
  return tiny_autoencoder(latent_channels=4)


@pytest.fixture(scope="module")
def trained(autoencoder, tmp_path_factory):
  """A latent DiT trained for ten steps, with a decoded preview at the end."""
  config = dit_xl2.get_config("smoke")
  config.autoencoder.weights = str(autoencoder[0])
  config.preview_every = config.num_steps
  workdir = tmp_path_factory.mktemp("latent")
  jax.config.update("jax_disable_most_optimizations", True)
  train.run(config, workdir)
  jax.config.update("jax_disable_most_optimizations", False)
  return config, workdir


def undecoded(config):
  config = config.copy_and_resolve_references()
  config.autoencoder.weights = ""
  return config


def arrays(path):
  with np.load(path) as file:
    return {name: file[name] for name in file.files}


def read(path):
  return json.loads(path.read_text("utf-8"))


def test_samples_are_decoded(autoencoder, trained, capsys):
  config, workdir = trained
  sample.run(undecoded(config), workdir)
  latents = arrays(workdir / "samples" / "latents.npz")
  assert latents["arr_0"].shape == (8, 8, 8, 4)
  assert latents["arr_0"].dtype == np.float32
  said = capsys.readouterr().out
  assert "8 latents of SD in " in said
  assert "not decoded because autoencoder.weights is empty" in said
  assert read(workdir / "results" / "sample.json")["decoder"] is None

  sample.run(config, workdir)
  found = arrays(workdir / "samples" / "samples.npz")
  folder, model, params = autoencoder
  z = latents["arr_0"] / 0.18215
  images = model.apply({"params": params}, z, method="decode")
  assert found["arr_0"].shape == (8, 16, 16, 3)
  off = found["arr_0"].astype(int) - to_uint8(images)
  assert np.abs(off).max() <= 1 and (off != 0).mean() < 1e-2
  np.testing.assert_array_equal(found["arr_1"], latents["arr_1"])
  decoder = read(workdir / "results" / "sample.json")["decoder"]
  assert decoder.startswith(f"{folder.name}, digest ")


def test_diffit_rounds_down(trained):
  config, workdir = trained
  config = config.copy_and_resolve_references()
  found = {}
  for preset in ("dit", "diffit"):
    config.evaluation.preset = preset
    sample.run(config, workdir)
    found[preset] = arrays(workdir / "samples" / "samples.npz")["arr_0"]
  darker = found["dit"].astype(int) - found["diffit"]
  assert set(np.unique(darker)) == {0, 1}
  assert 0.4 < darker.mean() < 0.6


def test_previews_are_decoded(trained):
  from PIL import Image

  _, workdir = trained
  with Image.open(workdir / "samples" / "00000010.png") as grid:
    assert grid.size == (3 * 34 + 2, 3 * 34 + 2)
  (events,) = (workdir / "tensorboard").iterdir()
  # The tag of the grid, and its step: the field 2 of an event.
  assert b"\n\x07samples" in events.read_bytes()


def test_an_official_checkpoint_is_sampled_and_decoded(
  autoencoder, trained, tmp_path
):
  config, workdir = trained
  file, imported = tmp_path / "dit.safetensors", tmp_path / "run"
  convert.run(config, workdir, export=str(file))
  convert.run(undecoded(config), imported, checkpoint=str(file))
  done = run_main(
    "--config=configs/dit_xl2.py:smoke",
    f"--workdir={imported}",
    "--mode=sample",
    f"--config.autoencoder.weights={autoencoder[0]}",
  )
  assert done.returncode == 0, done.stderr
  sample.run(config, workdir)
  found, expected = (
    arrays(folder / "samples" / "samples.npz") for folder in (imported, workdir)
  )
  np.testing.assert_array_equal(found["arr_1"], expected["arr_1"])
  assert np.abs(found["arr_0"].astype(int) - expected["arr_0"]).max() <= 1


def test_scores_are_computed_on_decoded_images(trained, tmp_path, monkeypatch):
  config, workdir = trained
  config = config.copy_and_resolve_references()

  def colours(pixels):
    assert pixels.shape[1:] == (16, 16, 3) and pixels.dtype == np.uint8
    return pixels.mean((1, 2)).astype(np.float32)

  extractor = CallableExtractor(colours, "colours", 3)
  monkeypatch.setattr(scoring, "build_extractor", lambda *_: extractor)
  real = np.random.RandomState(0).randint(0, 256, (32, 16, 16, 3), np.uint8)
  np.savez(tmp_path / "real.npz", arr_0=real)
  config.evaluation.update(
    preset="", scores=("fid",), reference=str(tmp_path / "real.npz"), count=16
  )
  evaluate.run(config, workdir)
  result = read(workdir / "results" / "evaluate.json")
  assert result["scores"]["fid[colours]"] > 0
  assert "digest" in result["protocol"]["decoder"]
  assert result["protocol"]["reference_count"] == 32

  # Without a reference file, the encoded images are the reference.
  config.evaluation.reference = ""
  config.latents.data = dict(
    name="synthetic", image_size=16, channels=3, num_classes=10, size=24
  )
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  evaluate.run(config, workdir)
  result = read(workdir / "results" / "evaluate.json")
  assert result["protocol"]["reference_count"] == 24
  with pytest.raises(ValueError, match="DiT-XL/2 makes latents of 'SD' and "):
    evaluate.run(undecoded(config), workdir)


def test_latents_of_other_channels_are_refused(tiny_autoencoder, trained):
  config, workdir = trained
  config = config.copy_and_resolve_references()
  config.autoencoder.weights = str(tiny_autoencoder(latent_channels=2)[0])
  with pytest.raises(ValueError, match="latents of 2 channels; DiT-XL/2 with"):
    sample.run(config, workdir)


def test_the_scaling_factor_of_the_data_is_used(autoencoder):
  config = dit_xl2.get_config()
  config.autoencoder.weights = str(autoencoder[0])
  decoder = build_decoder(config, 4)
  assert decoder and decoder.model.scaling_factor == 0.18215
  config.data.scaling_factor = 0.23010
  decoder = build_decoder(config, 4)
  assert decoder and decoder.model.scaling_factor == 0.23010


def test_every_device_decodes_its_own_shard(autoencoder):
  config = dit_xl2.get_config()
  config.autoencoder.weights = str(autoencoder[0])
  config.autoencoder.batch_size = 2
  decoder = build_decoder(config, 4)
  assert decoder is not None
  z = np.random.RandomState(0).randn(12, 4, 4, 4).astype(np.float32)
  found = []
  for sizes in ((1, 1, 1), (2, 2, 2)):
    mesh = make_mesh(sizes, jax.devices()[: math.prod(sizes)])
    replicated, sharded = (
      NamedSharding(mesh, spec) for spec in (PartitionSpec(), BATCH_SPEC)
    )
    arguments = (
      jax.device_put(decoder.params, replicated),
      jax.device_put(z, sharded),
    )
    with jax.set_mesh(mesh):
      decode = jax.jit(functools.partial(decoder, mesh=mesh))
      compiled = decode.lower(*arguments).compile()
    found.append(compiled(*arguments))
    text = compiled.as_text()
    assert text and not re.search(r"all-(gather|reduce|to-all)", text)
  assert found[1].sharding.is_equivalent_to(sharded, 4)
  np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_decoding_in_parts_needs_the_memory_of_one_part():
  model = create_autoencoder("SD")

  def memory(batch, part):
    z = jax.ShapeDtypeStruct((batch, 64, 64, 4), jnp.float32)
    decode = jax.jit(lambda p, z: decode_in_parts(model, p, z, part))
    compiled = decode.lower(abstract_params(model), z).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes

  one = memory(1, 1)
  assert one < 1 << 30
  assert memory(6, 1) < 1.05 * one

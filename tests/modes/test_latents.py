"""--mode=latents: encoding, resuming, and reading the latents."""

import functools
import signal

import jax
import ml_collections
import numpy as np
import pytest

from get_jax.autoencoder import posterior
from get_jax.data import create_source
from get_jax.jobs import latents as jobs_latents
from get_jax.jobs.latents import encode_latents
from get_jax.modes import latents
from get_jax.training.preemption import Stopped, handle_stop_signals

quick = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@pytest.fixture(scope="module")
def autoencoder(tiny_autoencoder):
  return tiny_autoencoder(latent_channels=2)


def config_of(folder, path, **latents):
  data = dict(
    name="synthetic", image_size=8, channels=3, num_classes=3, size=10
  )
  section = dict(
    data=data,
    dtype="float32",
    flips=True,
    shard_size=4,
    batch_size=2,
  )
  return ml_collections.ConfigDict(
    dict(
      autoencoder=dict(name="", weights=str(folder), dtype="float32"),
      data=dict(name="latents", path=str(path)),
      latents=section | latents,
    )
  )


def test_encoding_resuming_and_reading(autoencoder, tmp_path):
  folder, model, params = autoencoder
  config = config_of(folder, tmp_path / "latents")
  latents.run(config, str(tmp_path / "run"))
  images = create_source(**config.latents.data)
  records = images.read(np.arange(10))

  def means(x):
    moments = model.apply({"params": params}, x, method="encode")
    return model.scale(posterior.split(moments)[0])

  source = create_source("latents", path=tmp_path / "latents")
  found = source.read(np.arange(10))
  expected = quick(means)(records["image"])
  np.testing.assert_allclose(found["image"], expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(found["label"], records["label"])
  assert source.image_shape == (4, 4, 2)

  shard = tmp_path / "latents" / "00001.json"
  before = {p: p.read_bytes() for p in shard.parent.glob("0*")}
  shard.unlink()
  with pytest.raises(ValueError, match="lacks shard 1 of 3; run --mode=latent"):
    create_source("latents", path=tmp_path / "latents")
  latents.run(config, str(tmp_path / "run"))
  assert before == {p: p.read_bytes() for p in shard.parent.glob("0*")}

  other = config_of(folder, tmp_path / "latents", dtype="float16")
  with pytest.raises(
    ValueError, match="holds latents made with other settings"
  ):
    encode_latents(other.latents, other.autoencoder, other.data.path)


def test_a_signal_stops_after_a_shard(autoencoder, tmp_path, monkeypatch):
  config = config_of(autoencoder[0], tmp_path / "latents")
  encoded, encode = [], jobs_latents._Encoder.encode

  def interrupted(self, source, indices, progress):
    encoded.append(indices[0])
    if len(encoded) == 2:
      signal.raise_signal(signal.SIGINT)
    return encode(self, source, indices, progress)

  monkeypatch.setattr(jobs_latents._Encoder, "encode", interrupted)
  with handle_stop_signals(), pytest.raises(Stopped, match="before shard 2"):
    latents.run(config, str(tmp_path / "run"))
  latents.run(config, str(tmp_path / "run"))
  assert encoded == [0, 4, 8]


def test_invalid_settings_are_refused(autoencoder, tmp_path):
  folder = autoencoder[0]
  config = config_of(folder, tmp_path)
  with config.latents.unlocked():
    config.latents.data.image_size = 9
  with pytest.raises(ValueError, match="images of 9x9; expected multiples of"):
    encode_latents(config.latents, config.autoencoder, tmp_path)
  config.autoencoder.weights = ""
  with pytest.raises(ValueError, match=r"autoencoder\.weights is empty"):
    encode_latents(config.latents, config.autoencoder, tmp_path)
  config.data.name = "synthetic"
  with pytest.raises(ValueError, match="--mode=latents needs a config that"):
    latents.run(config, str(tmp_path))

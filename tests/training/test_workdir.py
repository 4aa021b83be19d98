"""Which configs may open an existing workdir."""

import json

import pytest

from configs import get_digits, get_tiny_cifar10
from get_jax.builders.model import build_model
from get_jax.modes import pairs
from get_jax.training.workdir import locked, open_workdir
from tests.helpers import tiny_config


def test_a_workdir_with_only_a_config_can_be_reused(tmp_path):
  open_workdir(tmp_path, tiny_config(seed=1))
  open_workdir(tmp_path, tiny_config(seed=2))
  found = json.loads((tmp_path / "config.json").read_text("utf-8"))
  assert found["seed"] == 2
  with locked(tmp_path):
    with pytest.raises(ValueError, match="belongs to another experiment"):
      open_workdir(tmp_path, tiny_config(seed=3))
  (tmp_path / "metrics.jsonl").write_text("")
  open_workdir(tmp_path, tiny_config(seed=2))
  with pytest.raises(ValueError, match=r"differs in seed \(2 there, 3 now\)"):
    open_workdir(tmp_path, tiny_config(seed=3))


def test_two_writers_of_pairs_in_one_workdir(tmp_path):
  config = get_digits.get_config()
  open_workdir(tmp_path, config)
  with locked(tmp_path):
    with pytest.raises(ValueError, match="another process uses"):
      pairs.run(config, tmp_path)


def test_settings_that_may_change_on_resume(tmp_path):
  config = get_digits.get_config()
  open_workdir(tmp_path, config)
  (tmp_path / "metrics.jsonl").write_text("")
  for part in (config, config.teacher):
    part.loader.workers = 2
    part.autoencoder.weights = "sd-vae-ft-mse"
    part.log_every = 7
  config.guidance.scale = 4.0
  open_workdir(tmp_path, config)
  config.teacher.model.depth = 2
  with pytest.raises(ValueError, match=r"differs in teacher\.model\.depth \("):
    open_workdir(tmp_path, config)
  config.teacher.model.depth = 4
  config.teacher.sampler.num_steps = 9
  with pytest.raises(ValueError, match=r"teacher\.sampler\.num_steps \(18 "):
    open_workdir(tmp_path, config)


def test_the_equilibrium_of_older_configs(tmp_path):
  config = get_tiny_cifar10.get_config()
  older = config.copy_and_resolve_references()
  older.equilibrium = {}
  assert build_model(older) == build_model(config)
  open_workdir(tmp_path, older)
  (tmp_path / "metrics.jsonl").write_text("")
  open_workdir(tmp_path, config)
  with config.unlocked():
    config.equilibrium.gradient.unroll = 6
  open_workdir(tmp_path, config)
  with config.unlocked():
    config.equilibrium.gradient.steps = 5
  with pytest.raises(ValueError, match=r"equilibrium\.gradient\.steps \("):
    open_workdir(tmp_path, config)
  path = tmp_path / "config.json"
  stored = json.loads(path.read_text())
  for damaged in (3, {"solver": 3}):
    path.write_text(json.dumps(stored | {"equilibrium": damaged}))
    with pytest.raises(ValueError, match=r"differs in equilibrium"):
      open_workdir(tmp_path, config)


def test_missing_settings_of_image_files_are_their_defaults(tmp_path):
  defaults = dict(
    orientation="exif", background=(255, 255, 255), skip_broken=False
  )
  others = dict(orientation="ignore", background=(), skip_broken=True)
  config = get_digits.get_config()
  open_workdir(tmp_path, config)
  (tmp_path / "metrics.jsonl").write_text("")
  for key, default in defaults.items():
    for part, name in ((config, "data"), (config.teacher, "teacher.data")):
      with part.data.unlocked():
        part.data[key] = default
        open_workdir(tmp_path, config)
        part.data[key] = others[key]
        with pytest.raises(ValueError, match=rf"differs in {name}\.{key} \("):
          open_workdir(tmp_path, config)
        del part.data[key]
  open_workdir(tmp_path, config)

"""Training and sampling from the parameters of another run."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from get_jax.builders.data import build_source
from get_jax.builders.model import build_model
from get_jax.builders.objective import build_objective
from get_jax.data import create_source
from get_jax.interop import export_checkpoint
from get_jax.jobs.initial_params import check_init_from, load_initial_params
from get_jax.models.parameters import init_params
from get_jax.modes import sample, train
from get_jax.training.checkpoints import latest_step, load_params
from get_jax.training.workdir import read_config
from tests.helpers import run_main, tiny_config

pytestmark = pytest.mark.usefixtures("one_device")

CLASSES = (3, 1, 4, 9)


@pytest.fixture(scope="module")
def source(one_device, tmp_path_factory):
  """A denoiser of digits, trained long enough to be better than a fresh one."""
  workdir = tmp_path_factory.mktemp("source")
  config = tiny_config(
    num_steps=150, batch_size=64, checkpoint_every=100, log_every=50
  )
  train.run(config, workdir)
  return workdir


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  """Folders of digits: "four", of `CLASSES`, and "large", of twice the size."""
  root = tmp_path_factory.mktemp("digits")
  records = create_source("digits").read(np.arange(400))
  pixels = np.round((records["image"][..., 0] + 1) * 127.5).astype(np.uint8)
  labels = records["label"].tolist()
  for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
    picture = Image.fromarray(image)
    images = {f"large/{label}": picture.resize((16, 16), Image.Resampling.BOX)}
    if label in CLASSES:
      images[f"four/{CLASSES.index(label)}"] = picture
    for folder, image in images.items():
      (root / folder).mkdir(parents=True, exist_ok=True)
      image.save(root / folder / f"{i}.png")
  return root


def config_of(digits=None, folder="", size=8, **changes):
  config = tiny_config(
    **{"num_steps": 1, "log_every": 1, "batch_size": 64, **changes}
  )
  if folder:
    path = str(digits / folder)
    config.data = dict(name="images", path=path, image_size=size, channels=1)
  return config


def losses(config, workdir):
  train.run(config, workdir)
  lines = (workdir / "metrics.jsonl").read_text("utf-8").splitlines()
  return [json.loads(line)["loss"] for line in lines]


def first_losses(config):
  """Returns the first loss of a fresh network, and that from `init_from`."""
  model = build_model(config)
  objective = build_objective(config, model)
  key = jax.random.key(0)
  batch = build_source(config).read(np.arange(100))
  loss = jax.jit(lambda params: objective(params, batch, key)[0])
  fresh, found = init_params(model, key), load_initial_params(config, key)
  return float(loss(fresh)), float(loss(found.params))


def assert_equal_params(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_the_first_loss_with_fewer_classes(source, digits):
  config = config_of(
    digits,
    "four",
    model__num_classes=4,
    init_from=str(source),
    init__classes=CLASSES,
  )
  fresh, found = first_losses(config)
  assert found < 0.8 * fresh


def test_the_first_loss_at_twice_the_size(source, digits):
  config = config_of(
    digits,
    "large",
    16,
    model__image_size=16,
    model__patch_size=8,
    init_from=str(source),
    init__resize_patches=True,
  )
  fresh, found = first_losses(config)
  assert found < 0.9 * fresh


def test_the_loss_at_twice_the_size_with_more_patches(source, digits, tmp_path):
  """Patches of enlarged images look different, which takes some steps."""
  fields = dict(model__image_size=16, num_steps=30)
  fresh = losses(config_of(digits, "large", 16, **fields), tmp_path / "fresh")
  fields |= dict(init_from=str(source))
  found = losses(config_of(digits, "large", 16, **fields), tmp_path / "found")
  assert np.mean(found[15:]) < 0.95 * np.mean(fresh[15:])


def test_parameters_and_average_are_those_of_the_source(
  source, tmp_path, capsys
):
  config = config_of(init_from=str(source), optimizer__learning_rate=0.0)
  train.run(config, tmp_path)
  for which in ("params", "ema"):
    assert_equal_params(load_params(tmp_path, which), load_params(source))
  message = f"train: starts from the EMA of {source}; nothing is changed"
  assert message in capsys.readouterr().out
  written = json.loads((tmp_path / "results/init.json").read_text("utf-8"))
  assert written == {"source": f"EMA of {source}", "changes": {}}


@pytest.mark.parametrize(
  ("trained", "used", "changes"),
  [
    (
      dict(name="edm"),
      dict(name="flow_matching"),
      {"process.name": "'edm' in training, 'flow_matching' here"},
    ),
    (
      dict(name="adm"),
      dict(name="adm", prediction="data"),
      {"process.prediction": "'noise' in training, 'data' here"},
    ),
    (dict(name="adm"), dict(name="adm", spacing=10), {}),
  ],
)
def test_another_process_is_a_change(source, tmp_path, trained, used, changes):
  """The parameters fit, but are those of another prediction."""
  workdir = shutil.copytree(source, tmp_path / "source")
  path = workdir / "config.json"
  saved = json.loads(path.read_text("utf-8"))
  path.write_text(json.dumps({**saved, "process": trained}), "utf-8")
  config = config_of(init_from=str(workdir))
  config.process = used
  found = load_initial_params(config, jax.random.key(0))
  assert found.changes == changes
  assert_equal_params(found.params, load_params(source))


def export(source, tmp_path):
  file = str(tmp_path / "dit.safetensors")
  export_checkpoint(file, build_model(read_config(source)), load_params(source))
  return file


def test_a_checkpoint_and_an_official_file(source, tmp_path):
  key = jax.random.key(0)
  step = config_of(init_from=str(source / "checkpoints" / "100"))
  assert_equal_params(
    load_initial_params(step, key).params, load_params(source, step=100)
  )
  changes = dict(
    model__num_classes=4, model__image_size=16, init__classes=CLASSES
  )
  found = [
    load_initial_params(config_of(init_from=init_from, **changes), key)
    for init_from in (export(source, tmp_path), str(source))
  ]
  assert (
    found[0].changes
    == found[1].changes
    == {
      "label_embed/table/embedding": "10 -> 4 classes: rows 3, 1, 4, 9",
      "positions/pos_table": "recomputed, 2x2 -> 4x4",
    }
  )
  assert_equal_params(found[0].params, found[1].params)


def test_the_checkpoint_of_the_run_takes_precedence(source, tmp_path, capsys):
  copy = tmp_path / "copy"
  shutil.copytree(source, copy)
  changes = dict(init_from=str(copy), optimizer__schedule="constant")
  train.run(config_of(**changes, num_steps=2), tmp_path / "run")
  assert "starts from" in capsys.readouterr().out
  shutil.rmtree(copy)
  train.run(config_of(**changes, num_steps=3), tmp_path / "run")
  assert latest_step(tmp_path / "run") == 3
  assert "starts from" not in capsys.readouterr().out


def test_init_from_identifies_the_experiment(source, tmp_path):
  config = config_of(init_from=str(source))
  train.run(config, tmp_path / "run")
  for changes in ({}, dict(init_from=str(source), init__reset=("blocks_0",))):
    with pytest.raises(ValueError, match=r"it differs in init[._]"):
      train.run(config_of(**changes), tmp_path / "run")

  # Workdirs of older versions have neither key.
  train.run(config_of(), tmp_path / "old")
  path = tmp_path / "old" / "config.json"
  old = json.loads(path.read_text("utf-8"))
  del old["init_from"], old["init"]
  path.write_text(json.dumps(old), "utf-8")
  train.run(config_of(init__positions="bilinear_corners"), tmp_path / "old")
  path.write_text(json.dumps(old), "utf-8")
  without = config_of()
  del without["init_from"], without["init"]
  train.run(without, tmp_path / "old")
  path.write_text(json.dumps(old), "utf-8")
  with pytest.raises(ValueError, match=r"it differs in init\.classes \(None"):
    train.run(config, tmp_path / "old")


def test_sampling_at_another_size(source, tmp_path, capsys):
  config = config_of(
    init_from=str(source),
    model__image_size=(8, 16),
  )
  config.data = dict(
    name="synthetic", image_size=(8, 16), channels=1, num_classes=10, size=16
  )
  sample.run(config, tmp_path)
  with np.load(tmp_path / "samples" / "samples.npz") as file:
    assert file["arr_0"].shape == (16, 8, 16, 1)
  results = json.loads((tmp_path / "results/sample.json").read_text("utf-8"))
  assert results["weights"] == f"EMA of {source}"
  assert "recomputed, 2x2 -> 2x4" in capsys.readouterr().out
  with pytest.raises(ValueError, match="contains no checkpoints"):
    sample.run(config_of(), tmp_path / "empty")


def test_what_does_not_exist_or_fit_is_refused(source, tmp_path):
  (tmp_path / "empty").mkdir()
  for init_from, changes, message in (
    ("runs/none", {}, "init_from=runs/none does not exist; expected the work"),
    (str(tmp_path / "empty"), {}, "empty contains no checkpoint; expected"),
    (str(source / "checkpoints" / "7"), {}, "7 does not exist; expected"),
    (str(source / "config.json"), {}, "config.json"),
    (
      str(source),
      dict(model__depth=2),
      r"init_from=.*: .*blocks_1/adaln/bias is missing there and \(192,\) here",
    ),
    (
      str(source),
      dict(model__patch_size=2),
      r"patch_embed/kernel is \(16, 32\) there and \(4, 32\) here",
    ),
    (str(source), dict(init__reset=("final",)), "did you mean 'final_layer'"),
  ):
    config = config_of(init_from=init_from, **changes)
    with pytest.raises(ValueError, match=message):
      train.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_that_fits_two_shapes_is_refused(source, tmp_path):
  file = export(source, tmp_path)
  config = config_of(init_from=file, model__image_size=(4, 16))
  with pytest.raises(ValueError, match="fits inputs of 4x16 and of 8x8"):
    check_init_from(config, tmp_path)


def test_the_command_line_takes_pairs_and_lists(source, tmp_path):
  run = run_main(
    "--config=configs/dit_digits.py",
    f"--workdir={tmp_path}",
    "--mode=sample",
    "--config.model.hidden_size=32",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.model.image_size=(8, 16)",
    "--config.model.num_classes=2",
    f"--config.init_from={source}",
    "--config.init.classes=(3, 5)",
    "--config.init.reset=final_layer,blocks_0/mlp",
    "--config.sampling.count=2",
    "--config.sampling.batch_size=2",
    "--config.sampler.num_steps=2",
  )
  assert run.returncode == 0, run.stderr
  assert "10 -> 2 classes: rows 3, 5" in run.stdout
  assert "final_layer/linear/kernel: reset" in run.stdout
  config = json.loads(pathlib.Path(tmp_path, "config.json").read_text())
  assert config["model"]["image_size"] == [8, 16]

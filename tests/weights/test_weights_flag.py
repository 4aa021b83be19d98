"""--weights and --mode=weights."""

import shutil

import pytest

from get_jax.cli.weights_flag import add_config_flag, start_from_weights
from get_jax.errors import UsageError
from get_jax.modes import weights
from tests.helpers import environment, run_main, tiny_config


@pytest.mark.parametrize(
  ("arguments", "config"),
  [
    (["--weights=DiT-XL/2-512"], "dit_xl2_512"),
    (["--weights", "U-ViT-S/2-COCO"], "uvit_s2_coco"),
    (["-weights=GET-B/2-cond-2M", "--mode=sample"], "get_base_cifar10_cond_2m"),
  ],
)
def test_the_config_of_the_weights_is_added(arguments, config):
  found = add_config_flag(["main.py", *arguments])
  assert found == ["main.py", f"--config={config}", *arguments]


@pytest.mark.parametrize(
  "arguments",
  [
    ["--weights=DiT-XL/2-256", "--config=mine.py"],
    ["--weights=DiT-XL/2-256", "--config", "mine.py"],
    ["--weights=sd-vae", "--mode=weights"],
    ["--weights=sd-vae", "--mode", "weights"],
    ["--mode=train"],
  ],
)
def test_other_command_lines_stay(arguments):
  assert add_config_flag(["main.py", *arguments]) == ["main.py", *arguments]


def test_the_weights_of_a_network_are_needed():
  with pytest.raises(UsageError, match="sd-vae is of the kind 'autoencoder'"):
    add_config_flag(["main.py", "--weights=sd-vae"])


@pytest.mark.parametrize(
  ("own", "expected"), [("", "sd-vae-ft-ema"), ("folder", "folder")]
)
def test_the_run_starts_from_the_weights(own, expected):
  config = tiny_config(autoencoder__weights=own)
  start_from_weights(config, "DiT-XL/2-256", "sample", None)
  assert config.init_from == "DiT-XL/2-256"
  assert config.autoencoder.weights == expected


def test_pixels_need_no_autoencoder():
  config = tiny_config()
  start_from_weights(config, "edm-ffhq-64x64-uncond-vp", "train", None)
  assert config.autoencoder.weights == ""


def test_two_sets_of_parameters_contradict_each_other():
  config = tiny_config(init_from="another")
  with pytest.raises(UsageError, match="contradicts init_from=another"):
    start_from_weights(config, "DiT-XL/2-256", "train", None)


def test_a_workdir_with_checkpoints_of_its_own(monkeypatch, tmp_path):
  monkeypatch.setattr(
    "get_jax.training.checkpoints.latest_step", lambda workdir: 7
  )
  with pytest.raises(UsageError, match="has checkpoints of its own, which"):
    start_from_weights(tiny_config(), "DiT-XL/2-256", "sample", str(tmp_path))
  start_from_weights(tiny_config(), "DiT-XL/2-256", "train", str(tmp_path))


def row_of(name, output):
  (row,) = [line for line in output.splitlines() if f"│ {name} " in line]
  return [cell.strip() for cell in row.strip("│").split("│")]


def test_the_list_says_what_is_cached(publish, capsys, folder):
  publish(b"content")
  weights.run()
  assert row_of("tiny", capsys.readouterr().out)[-1] == "no"
  weights.run("tiny")
  assert f"tiny is in {folder / 'tiny' / 'file.bin'}" in capsys.readouterr().out
  weights.run()
  output = capsys.readouterr().out
  assert row_of("tiny", output)[-1] == "yes"
  assert row_of("GET-T/2", output)[-1] == "by hand"
  shutil.rmtree(folder)
  weights.run()
  assert row_of("tiny", capsys.readouterr().out)[-1] == "no"


def test_the_command_line(tmp_path, monkeypatch):
  """One process, without network: the list, with a file placed by hand."""
  file = tmp_path / "get_jax" / "weights" / "GET-T-2" / "GET-T-2.pth"
  file.parent.mkdir(parents=True)
  file.write_bytes(b"weights")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert environment()["XDG_CACHE_HOME"] == str(tmp_path)
  found = run_main("--mode=weights")
  assert found.returncode == 0, found.stderr
  assert row_of("DiT-XL/2-256", found.stdout) == [
    "DiT-XL/2-256", "network", "2.70 GB", "CC BY-NC 4.0 (non-commercial)",
    "FID 2.27, IS 278.24 (guidance 1.5)", "no",
  ]  # fmt: skip
  assert row_of("GET-T/2", found.stdout)[-1] == "yes"

"""Configs by name and by path, and what `configs` is inside them."""

import sys

import pytest

from get_jax.builders.config_file import find_config, load_config_file
from get_jax.builders.experiments import configs_folder
from get_jax.errors import UsageError
from tests.helpers import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Returns the current folder, which is empty."""
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_the_configs_of_a_checkout_are_beside_the_package():
  assert configs_folder() == ROOT / "configs"


def test_a_name_is_the_file_of_a_shipped_experiment(folder):
  file = str(ROOT / "configs" / "dit_xl2.py")
  assert find_config("dit_xl2") == file
  assert find_config("dit_xl2:smoke") == f"{file}:smoke"


def test_a_path_is_a_file_of_the_user(folder):
  (folder / "dit_xl2.py").write_text("get_config = dict")
  assert find_config("dit_xl2.py") == "dit_xl2.py"
  assert find_config("./dit_xl2.py:a") == "./dit_xl2.py:a"
  assert load_config_file("dit_xl2.py") == {}
  assert load_config_file("dit_xl2").model.name == "DiT-XL/2"


@pytest.mark.parametrize(
  ("config", "message"),
  [
    (
      "dit_x12",
      "--config=dit_x12 is not an experiment; did you mean --config=",
    ),
    ("common", "--config=common is not an experiment"),
    ("", "--config= is not an experiment; expected an experiment that --list"),
    ("configs/dit_b2.py", "does not exist; did you mean --config=dit_b2?"),
    ("mime.py", "--config=mime.py does not exist; did you mean mine.py?"),
    ("mine.py", "--config=mine.py has no function get_config()"),
    ("./mine", "--config=./mine is not Python; expected a file"),
  ],
)
def test_what_is_no_config(folder, config, message):
  (folder / "mine.py").write_text("")
  (folder / "mine").write_text("")
  with pytest.raises(UsageError) as error:
    load_config_file(config)
  assert message in str(error.value)


def test_configs_is_bound_while_a_config_is_loaded(folder):
  configs = folder / "configs"
  (configs / "nested").mkdir(parents=True)
  (configs / "own.py").write_text("VALUE = 3")
  (configs / "common.py").write_text("VALUE = 4")
  (configs / "nested" / "mine.py").write_text(
    "from configs import common, own, recipes\n"
    "def get_config(name='dit_digits'):\n"
    "  from configs.recipes import digits\n"
    "  from get_jax.builders.config_file import load_config_file\n"
    "  config = load_config_file(name)\n"
    "  from configs import common as again\n"
    "  assert again is common\n"
    "  config.seed = 10 * own.VALUE + common.VALUE\n"
    "  config.batch_size = digits.IMAGES['hidden_size']\n"
    "  return config\n"
  )
  import configs.common as shipped

  config = load_config_file("configs/nested/mine.py:get_digits")
  assert (config.seed, config.batch_size) == (34, 192)
  assert config.task == "distillation"
  assert sys.modules["configs.common"] is shipped

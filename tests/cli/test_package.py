"""The built package: its files, and its command in another environment."""

import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import get_jax
from tests.helpers import ROOT, environment

PYTHONS = ("3.11", "3.12", "3.13")


def files_of(folder):
  return {
    path.relative_to(folder).as_posix()
    for path in pathlib.Path(folder).rglob("*")
    if path.is_file()
  }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Returns a copy of the files of the checkout that git tracks."""
  if not (ROOT / ".git").exists():
    pytest.skip("not a checkout")
  folder = tmp_path_factory.mktemp("package") / "source"
  tracked = ["git", "ls-files", "-z", "--cached", "--", ":!:.*"]
  done = subprocess.run(tracked, cwd=ROOT, check=True, capture_output=True)
  for name in filter(None, done.stdout.decode().split("\0")):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / name, folder / name)
  return folder


@pytest.fixture(scope="module")
def archives(source):
  """Returns the sdist, and the wheel that is built from the sdist."""
  built = source.parent / "archives"
  subprocess.run(
    [sys.executable, "-m", "build", "--no-isolation", f"--outdir={built}"],
    cwd=shutil.copytree(source, source.parent / "build"),
    check=True,
    capture_output=True,
    timeout=300,
  )
  sdist, wheel = built.glob("*.tar.gz"), built.glob("*.whl")
  return next(sdist), next(wheel)


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
  """Returns the bin folder of an environment that only the wheel is added to.

  Its dependencies are those of this environment.
  """
  folder = tmp_path_factory.mktemp("installed")
  venv.create(folder, with_pip=False, symlinks=True)
  python = folder / "bin" / "python"
  pip = [sys.executable, "-m", "pip", "--python", python, "--quiet"]
  command = [*pip, "install", "--no-deps", "--no-index", archives[1]]
  subprocess.run(command, check=True, capture_output=True, timeout=300)
  # Adds the packages but, unlike a site folder, not the editable installs.
  site = next(folder.glob("lib/python*/site-packages"))
  paths = dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))
  (site / "dependencies.pth").write_text("\n".join(paths))
  return folder / "bin"


def run(command, *args, cwd, **variables):
  return subprocess.run(
    [command, *args],
    cwd=cwd,
    env={**environment(), **variables},
    capture_output=True,
    text=True,
    timeout=300,
  )


def test_files_of_the_sdist(source, archives):
  with tarfile.open(archives[0]) as archive:
    files = {m.name.split("/", 1)[1] for m in archive if m.isfile()}
  generated = {f for f in files if f.startswith("get_jax.egg-info/")}
  assert files - generated - {"PKG-INFO", "setup.cfg"} == files_of(source)


def test_files_of_the_wheel(source, archives):
  info = f"get_jax-{get_jax.__version__}.dist-info"
  with zipfile.ZipFile(archives[1]) as archive:
    files = set(archive.namelist())
  package = {f"get_jax/{f}" for f in files_of(source / "get_jax")}
  configs = {f"get_jax/configs/{f}" for f in files_of(source / "configs")}
  assert {f for f in files if not f.startswith(info)} == package | configs
  assert f"{info}/licenses/LICENSE" in files
  assert "get_jax/py.typed" in files
  assert "get_jax/evaluation/extractors/digits_v1.npz" in files


def test_the_command_lists_the_experiments_without_jax(installed, tmp_path):
  code = (
    "import sys, get_jax\n"
    "from get_jax.cli.main import main\n"
    "print(get_jax.__file__)\n"
    "for flag in '--list', '--help':\n"
    "  sys.argv = ['get_jax', flag]\n"
    "  try: main()\n"
    "  except SystemExit as stop: assert not stop.code\n"
    "assert 'jax' not in sys.modules"
  )
  done = run(installed / "python", "-c", code, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  place, _, text = done.stdout.partition("\n")
  assert pathlib.Path(place).is_relative_to(installed.parent)
  assert re.search("\n  dit_xl2 +DiT-XL/2 on ImageNet", text)
  names = {line.split()[0] for line in text.splitlines() if line.strip()}
  experiments = {path.stem for path in (ROOT / "configs").glob("*.py")}
  assert experiments - {"common"} <= names
  assert "--workdir" in text and "get_jax --config=get_digits" in text


@pytest.fixture
def user_folder(tmp_path):
  """Returns a folder with a package `configs` that is not the shipped one."""
  configs = tmp_path / "configs"
  configs.mkdir()
  (configs / "__init__.py").write_text("")
  (configs / "common.py").write_text("WIDTH = 64")
  (configs / "dit_digits.py").write_text("raise RuntimeError('not shipped')")
  (configs / "mine.py").write_text(
    "from configs.common import WIDTH\n"
    "from configs.recipes import digits\n"
    "def get_config():\n"
    "  from get_jax.builders.config_file import load_config_file\n"
    "  assert digits.IMAGES['hidden_size'] == 192\n"
    "  config = load_config_file('dit_digits')\n"
    "  config.model.hidden_size, config.model.num_heads = WIDTH, 2\n"
    "  return config\n"
  )
  return tmp_path


def test_a_folder_configs_does_not_hide_the_experiments(installed, user_folder):
  done = run(
    installed / "get_jax",
    "--config=dit_digits:smoke",
    "--mode=summary",
    "--config.model.depth=2",
    "--workdir=run",
    cwd=user_folder,
    PYTHONPATH=".",
  )
  assert done.returncode == 0, done.stderr
  assert (user_folder / "run" / "results" / "summary.json").is_file()


def test_the_experiments_do_not_hide_a_folder_configs(installed, user_folder):
  command = ("--config=configs/mine.py", "--mode=summary", "--workdir=run")
  done = run(installed / "get_jax", *command, cwd=user_folder)
  assert done.returncode == 0, done.stderr
  text = (user_folder / "run" / "config.json").read_text()
  assert yaml.safe_load(text)["model"]["hidden_size"] == 64


def test_the_command_refuses_an_unknown_experiment(installed, tmp_path):
  done = run(installed / "get_jax", "--config=dit_digit:smoke", cwd=tmp_path)
  assert done.returncode == 2
  assert done.stderr.startswith(
    "Failed: --config=dit_digit:smoke is not an experiment; did you mean "
    "--config=dit_digits"
  )
  assert len(done.stderr.splitlines()) == 1


def test_the_version_of_the_citation(archives):
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
  assert citation["version"] == get_jax.__version__
  assert citation["license"] == metadata(archives)["License-Expression"]
  assert citation["authors"] == [{"name": metadata(archives)["Author"]}]
  assert metadata(archives)["Version"] == get_jax.__version__


def metadata(archives):
  with zipfile.ZipFile(archives[1]) as archive:
    name = next(n for n in archive.namelist() if n.endswith("/METADATA"))
    return Parser().parsestr(archive.read(name).decode())


def locked(name):
  """Returns the requirements of a file in requirements/."""
  lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
  pins = (line.removesuffix("\\") for line in lines if line[:1].isalnum())
  return [Requirement(pin) for pin in pins]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_file_has_what_the_package_requires(archives, python):
  classifiers = metadata(archives).get_all("Classifier")
  assert f"Programming Language :: Python :: {python}" in classifiers
  where = {
    **default_environment(),
    "python_version": python,
    "python_full_version": f"{python}.0",
  }
  versions = {
    canonicalize_name(pin.name): next(iter(pin.specifier)).version
    for pin in locked("lock.txt")
    if pin.marker is None or pin.marker.evaluate(where)
  }
  for text in metadata(archives).get_all("Requires-Dist"):
    needed = Requirement(text)
    version = versions.get(canonicalize_name(needed.name))
    assert version and needed.specifier.contains(version), (
      f"{text} is locked to {version}; run bash scripts/lock.sh"
    )


def test_the_hashes_are_of_the_locked_versions():
  pins = {(pin.name, str(pin.specifier)) for pin in locked("lock.txt")}
  hashed = {(pin.name, str(pin.specifier)) for pin in locked("hashes.txt")}
  assert hashed and hashed <= pins

"""Every experiment loads, agrees with its header, and runs as `:smoke`."""

import dataclasses
import functools
import importlib
import importlib.util
import json
import math
import pathlib

import jax
import numpy as np
import pytest

from get_jax.builders.data import build_source
from get_jax.builders.experiments import read_experiment
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model, image_shape
from get_jax.builders.training_step import build_training_step
from get_jax.diffusion.noise import SampleNoise
from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params
from get_jax.training.sharding import path_name
from get_jax.training.workdir import config_to_dict

ROOT = pathlib.Path(__file__).parents[2]
NAMES = sorted(
  path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "common"
)
# Parameters of networks whose settings differ from those that
# tests/models/test_registry.py counts, without fixed tables: the numbers of the
# paper or of the official code.
PARAMS = {
  "dit_xl2_512": 674_834_720,
  "dit_xl2_incontext": 449_031_200,
  "dit_xl2_crossattention": 597_795_872,
  "dit_xl2_adaln": 600_452_384,
  "edm_cifar10_vp": 55_733_891,
  "edm_cifar10_cond_vp": 55_735_299,
  "edm_cifar10_ve": 56_397_827,
  "edm_cifar10_cond_ve": 56_400_643,
  "edm_ffhq64_vp": 61_805_571,
  "edm_ffhq64_ve": 62_761_091,
  "edm_imagenet64": 295_899_267,
  "get_base_cifar10_cond": 62_230_284 - 256 * 768,
  # GET-B's 62,230,284, with patches of 4 channels in and out, 1,000 classes.
  "get_base_imagenet256": 62_230_284
  - 256 * 768
  + 4 * (768 + 768 + 1)
  + 990 * 3 * 768,
  "vit_base_cifar10_cond": 85_294_860 - 256 * 768,
  "vit_base_cifar10_cond_adaln": 128_944_908 - 256 * 768,
}


def load_script(name):
  path = ROOT / "scripts" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


list_experiments = load_script("list_experiments")


def load(name, argument=""):
  return importlib.import_module(f"configs.{name}").get_config(argument)


@functools.cache
def smoke(name):
  return load(name, "smoke")


def structure(name):
  """Returns what determines the compiled programs: all but the floats."""
  config = config_to_dict(smoke(name))
  for section in (config, config.get("teacher")):
    if section:
      for unused in ("latents", "evaluation"):
        section.pop(unused, None)
      model = create_model(**section["model"])
      section["model"] = {
        field.name: bool(value) if isinstance(value, float) else repr(value)
        for field in dataclasses.fields(model)
        for value in [getattr(model, field.name)]
      } | {"class": type(model).__name__}
  leaf = functools.partial(lambda x: bool(x) if isinstance(x, float) else x)
  return json.dumps(jax.tree.map(leaf, config), sort_keys=True)


def different():
  """Returns one experiment for each structure."""
  return list({structure(name): name for name in reversed(NAMES)}.values())


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_has_its_command(name):
  config = load(name)
  model = build_model(config)
  assert model.in_channels in (1, 3, 4)
  module = importlib.import_module(f"configs.{name}")
  header = module.__doc__
  command = " ".join(header.replace("\\", "").split())
  assert (
    f"python main.py --config=configs/{name}.py --workdir=runs/{name}"
    in command
  )
  if "digits" not in name:
    recipe = read_experiment(pathlib.Path(module.__file__)).recipe
    assert "Published: " in header
    assert f"configs/recipes/{recipe}.py" in header
    for word in ("Hardware", "20", "iffer"):
      assert word in header + getattr(module, recipe).__doc__, word
  with pytest.raises(UsageError, match="smoke or nothing"):
    load(name, "smok")


def test_every_config_is_in_the_docs():
  page = (ROOT / "docs" / "experiments.md").read_text("utf-8")
  assert page == list_experiments.page(), (
    "run python scripts/list_experiments.py"
  )


@pytest.mark.parametrize("name", PARAMS)
def test_size(name):
  params = abstract_params(build_model(load(name)))
  leaves = jax.tree_util.tree_leaves_with_path(params)
  count = sum(
    math.prod(leaf.shape)
    for path, leaf in leaves
    if not path_name(path).endswith(("pos_table", "freqs"))
  )
  assert count == PARAMS[name]


@pytest.mark.parametrize("name", different())
def test_smoke(name):
  """Two steps of training and one sample."""
  config = smoke(name)
  model = build_model(config)
  shape = image_shape(model)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda a: 0.1 * rng.standard_normal(a.shape, np.float32),
    abstract_params(model),
  )
  if config.task == "distillation":
    assert image_shape(build_model(config.teacher)) == shape
    assert config.teacher.model.num_classes == model.num_classes
    indices = np.arange(config.batch_size, dtype=np.int32)
    noise = rng.standard_normal((config.batch_size, *shape), np.float32)
    batch = {"index": indices, "image": noise, "label": indices}
  else:
    source = build_source(config)
    assert source.image_shape == shape
    assert (source.num_classes or 0) == model.num_classes
    batch = source.read(np.arange(config.batch_size))

  training_step = build_training_step(config, model, pairs_seed=0)
  shapes = jax.eval_shape(training_step.init_state, training_step.init_key)
  state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
  state = state.replace(
    params=params,
    ema=params,
    bad_step=np.int32(-1),
    targets=dict.fromkeys(shapes.targets, params),
  )
  step = jax.jit(training_step.step)
  for _ in range(2):
    state, bad_step = step(state, batch)
  assert int(state.step) == 2 and int(bad_step) == -1
  changed = jax.tree.map(
    lambda a, b: (np.asarray(a) != b).any(), state.params, params
  )
  assert any(jax.tree.leaves(changed))

  generator = build_generator(config)

  condition, indices = generator.conditioning, np.arange(1)
  key = jax.random.key(0)
  y = condition.model_inputs(condition.sample_ids(key, indices))

  @jax.jit
  def sample(params, y):
    return generator.generate(params, SampleNoise.create(key, indices), y)

  images = sample(state.ema, y)
  assert images.shape == (1, *shape)
  assert np.isfinite(images).all()

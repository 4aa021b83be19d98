"""The table of config keys: every config passes, wrong values are sentences."""

import ast
import contextlib
import importlib.util
import math
import pathlib
import re

import jax
import ml_collections
import pytest

from configs.common import base
from get_jax.builders.config_check import (
  check_config,
  model_keys,
  setting_keys,
)
from get_jax.builders.config_file import load_config_file
from get_jax.builders.config_keys import (
  OPTIONAL_SECTIONS,
  SECTIONS,
  TOP,
)
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.builders.tasks import TASKS
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.data.sources import SOURCES
from get_jax.diffusion import PROCESSES, SAMPLERS
from get_jax.diffusion.objectives import OBJECTIVES
from get_jax.errors import UsageError
from get_jax.models.registry import FAMILIES

OPTIONS = pathlib.Path(__file__).parents[3] / "shared/cases/options.md"
CONFIGS = sorted(pathlib.Path("configs").glob("*.py"))
NAMES = [path.stem for path in CONFIGS if path.stem != "common"]
WRONG = (-1, 0, math.nan, 1e30, "x", None)


@pytest.mark.parametrize("argument", ["", ":smoke"])
@pytest.mark.parametrize("name", NAMES)
def test_every_config_passes(name, argument):
  check_config(load_config_file(f"configs/{name}.py{argument}"))


def flat(config, prefix=""):
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from flat(value, f"{prefix}{key}.")
    else:
      yield prefix + key, value


@contextlib.contextmanager
def changed(config, key, value):
  """The config with one key set, whatever type it had, until the exit."""
  *sections, last = key.split(".")
  section = config
  for name in sections:
    section = section[name]
  old = section[last]
  with section.ignore_type():
    section[last] = value
  yield config
  with section.ignore_type():
    section[last] = old  # also for the keys that are computed from it
  with section.unlocked():
    del section[last]  # with its type
    section[last] = old


@pytest.mark.parametrize("name", NAMES)
def test_wrong_numbers_are_refused_in_one_sentence_that_names_the_key(name):
  config = load_config_file(f"configs/{name}.py")
  numeric = [
    key
    for key, value in flat(config)
    if isinstance(value, int | float) and not isinstance(value, bool)
  ]
  assert len(numeric) > 15
  for key in numeric:
    refused = 0
    for value in WRONG:
      with changed(config, key, value):
        try:
          check_config(config)
        except UsageError as error:
          refused += 1
          message = str(error)
          assert "\n" not in message and "expected" in message
          assert key.rpartition(".")[2] in message
    # A string and NaN are wrong everywhere.
    assert refused >= 2, key


def digits():
  return load_config_file("configs/dit_digits.py")


@pytest.mark.parametrize(
  "key, value, sentence",
  [
    ("sampling.count", 0, "sampling.count is 0; expected an integer of at"),
    ("sampling.count", -3, "sampling.count is -3; expected"),
    ("log_every", 0, "log_every is 0; expected an integer of at least 1"),
    ("checkpoint_every", -1, "checkpoint_every is -1; expected"),
    ("optimizer.learning_rate", -1e-3, "is -0.001; expected a number above 0"),
    ("ema.half_life_images", -5, "half_life_images is -5.0; expected a number"),
    (
      "seed",
      -1,
      "seed is -1; .* at least 0 and below 4294967296",
    ),
    ("keep_checkpoints", 0, "keep_checkpoints is 0; expected an integer"),
    ("optimizer.schedule", "cosin", "expected one of: 'constant', 'cosine'"),
    ("batch_size", True, "batch_size is True; expected an integer"),
    ("evaluation.scores", ("fdi",), "evaluation.scores is .*each element one"),
    ("mesh.fsdp", 0, "mesh.fsdp is 0; expected .* or -1"),
    ("model.depth", 1.5, "model.depth is 1.5; expected an integer"),
    ("sampler.num_steps", "18", "sampler.num_steps is '18'; expected an int"),
    ("process.sigma_data", 0.0, "process.sigma_data is 0.0; expected a number"),
  ],
)
def test_values_out_of_range(key, value, sentence):
  with changed(digits(), key, value) as config:
    with pytest.raises(UsageError, match=sentence):
      check_config(config)


def collected_settings():
  """Key, value and what is right of each setting in ../shared/cases."""
  if not OPTIONS.is_file():
    return
  for line in OPTIONS.read_text("utf-8").splitlines():
    tried, _, right = (line.split("|") + [""] * 4)[1:4]
    for key, value in re.findall(r"`([a-z_.]+)=([-0-9.e]+)`", tried):
      yield key, ast.literal_eval(value), right


@pytest.mark.skipif(
  not OPTIONS.is_file(), reason="no inputs at ../shared/cases"
)
def test_the_collected_settings():
  found = list(collected_settings())
  assert found
  config = digits()
  for key, value, right in found:
    with changed(config, key, value):
      if "documented meaning" in right and TOP[key].accepts(value):
        check_config(config)
      else:
        with pytest.raises(UsageError, match=re.escape(f"{key} is {value}")):
          check_config(config)


def without(config, *path):
  values = config.to_dict()
  section = values
  for key in path[:-1]:
    section = section[key]
  del section[path[-1]]
  return ml_collections.ConfigDict(values)


def added(config, *path, value=1):
  values = config.to_dict()
  section = values
  for key in path[:-1]:
    section = section[key]
  section[path[-1]] = value
  return ml_collections.ConfigDict(values)


def test_missing_and_unknown_keys():
  def refused(config, sentence):
    with pytest.raises(UsageError, match=sentence):
      check_config(config)

  refused(
    without(digits(), "equilibrium"), "the section equilibrium is missing"
  )
  refused(without(digits(), "seed"), "seed is missing; expected an integer")
  refused(without(digits(), "model", "name"), "model.name is missing")
  refused(without(digits(), "mesh", "data"), "mesh.data is missing")
  refused(added(digits(), "batchsize"), "did you mean 'batch_size'")
  refused(added(digits(), "loader", "thread"), "did you mean 'threads'")
  refused(added(digits(), "model", "widht"), "model.widht is unknown")
  refused(added(digits(), "sampler", "name", value="hune"), "mean 'heun'")
  refused(added(digits(), "loader", value=3), "loader is 3; expected a section")
  refused(
    added(digits(), "guidance", "interval", value=(2.0, 1.0)),
    "expected .low, high.",
  )
  solver = {"name": "simple"}
  refused(
    added(digits(), "equilibrium", "solver", value=solver),
    "DiT has no equilibrium; expected equilibrium empty",
  )
  crossed = added(digits(), "sampler", "sigma_min", value=90.0)
  refused(
    added(crossed, "sampler", "sigma_max", value=80.0),
    "sampler.sigma_min is 90.0; expected less than sampler.sigma_max=80.0",
  )
  job = load_config_file("configs/get_digits.py")
  refused(without(job, "pairs"), "the section pairs is missing")
  refused(without(job, "sampling", "iterations"), "sampling.iterations is mis")
  refused(added(job, "teacher", "num_step"), "teacher.num_step is unknown")


def test_the_defaults_of_the_table_are_those_of_the_base_config():
  values = base().to_dict()
  for name, key in TOP.items():
    assert values[name] == key.default
  for section, keys in SECTIONS.items():
    assert values[section].keys() <= keys.keys()
    for name, value in values[section].items():
      assert value == keys[name].default, f"{section}.{name}"
    required = {name for name, key in keys.items() if key.required}
    assert required <= values[section].keys()


def test_every_default_is_accepted_and_every_key_explained():
  tables = [*SECTIONS.values(), *OPTIONAL_SECTIONS.values(), TOP]
  for keys in tables:
    for name, key in keys.items():
      assert key.meaning.endswith("."), name
      assert key.default is None or key.accepts(key.default), name
  owners = [*PROCESSES.values(), *SAMPLERS.values()]
  for keys in [
    *map(setting_keys, owners),
    *map(setting_keys, SOURCES.values()),
    *map(model_keys, FAMILIES),
  ]:
    for name, key in keys.items():
      assert key.meaning, name


def test_the_page_is_up_to_date():
  spec = importlib.util.spec_from_file_location(
    "list_config_keys", "scripts/list_config_keys.py"
  )
  script = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(script)
  page = pathlib.Path("docs/config.md").read_text("utf-8")
  assert page == script.page(), "run python scripts/list_config_keys.py"


# Keys that networks, processes, objectives and samplers are made from.
SHAPING = (
  "batch_size",
  "ema",
  "guidance",
  "label_dropout",
  "model",
  "optimizer",
  "process",
  "sampler",
)


def accepted_changes(config):
  """Yields (key, value) for each wrong-looking value that the table accepts.

  Meanwhile the config has that value.
  """
  for key, old in list(flat(config)):
    if isinstance(old, int | float) and not isinstance(old, bool):
      for value in WRONG:
        with changed(config, key, value):
          try:
            check_config(config)
          except UsageError:
            continue
          yield key, value


def test_accepted_values_make_a_training_step_and_a_generator_or_a_sentence():
  """What the table lets pass is a legitimate run, or refused by a builder."""
  config = load_config_file("configs/dit_digits.py:smoke")
  built = 0
  for key, _ in accepted_changes(config):
    if key.split(".")[0] not in SHAPING:
      continue
    try:
      model = build_model(config)
      step = build_training_step(config, model)
      state = jax.eval_shape(step.init_state, step.init_key)
      jax.eval_shape(step.step, state, batch_shapes(config, model))
      build_generator(config)
    except UsageError as error:
      assert "\n" not in str(error)
    built += 1
  assert built > 15


def test_every_task_has_an_objective():
  assert {*TASKS} == {*OBJECTIVES, "distillation"}

"""From the command line to a mode, with clear words where that fails."""

import difflib
import importlib.util
import logging
import os
import pathlib
import re
import sys

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from get_jax.errors import UsageError
from get_jax.modes import MODES, load_mode

BAD_INPUT = 2

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "The experiment, e.g. configs/get_digits.py; append :smoke for a small "
  "trial run on synthetic data. Any key can be overridden, as in "
  "--config.batch_size=64, and sections with a name take every setting of what "
  "they name, as in --config.model.depth=6.",
  lock_config=False,
  accept_new_attributes=True,
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; what is in it already is carried on."
)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  None,
  "With --mode=convert: the official file to import (.pt, .pth, .safetensors "
  "or EDM's .pkl); nothing in it is executed.",
)
_EXPORT = flags.DEFINE_string(
  "export",
  None,
  "With --mode=convert: the .safetensors file to write the averaged "
  "parameters to, under their official names.",
)
_MODE = flags.DEFINE_enum(
  "mode",
  "train",
  MODES,
  "train: learn, resuming what the workdir holds. sample: draw images from "
  "it. evaluate: score it. curve: score it against training step or any "
  "setting. pairs: make the teacher's noise/image pairs. convert: official "
  "checkpoints in, our parameters out. summary: count parameters and "
  "operations. compile: compile a step for a pod that is not there, see "
  "--topology. The last two need neither data nor workdir.",
)
_PROFILE = flags.DEFINE_string(
  "profile",
  None,
  "With --mode=train: first and last step to trace into <workdir>/profile, "
  "such as 100:105.",
)
_TOPOLOGY = flags.DEFINE_string(
  "topology",
  None,
  "With --mode=compile: the pod, as chip and grid: v5e:4x4, v5p:8x8x8, "
  "v6e:16x16, tpu7x:4x4x4; of GPUs hosts and GPUs of a host: h200:1x8.",
)
_NUM_SLICES = flags.DEFINE_integer(
  "num_slices", None, "With --mode=compile: slices of that grid; 1 if not said."
)
_STEP = flags.DEFINE_enum(
  "step",
  None,
  ("train", "sample"),
  "With --mode=compile: the step of training (if not said), or the sampling "
  "of a batch.",
)
_SEARCH = flags.DEFINE_boolean(
  "search",
  None,
  "With --mode=compile: find the largest batch of a device, over remat "
  "policies and meshes.",
)

_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "Address HOST:PORT of process 0, where several processes make one run; with "
  "--num_processes and --process_id. Cloud TPU and Slurm need none of these.",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes",
  None,
  "Processes of the run; 1: this one alone, whatever the cluster says.",
  lower_bound=1,
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Which of them this one is, from 0.", lower_bound=0
)
_STUCK_AFTER = flags.DEFINE_float(
  "stuck_after",
  900.0,
  "Seconds that one of several processes may stand still while others wait "
  "for it; then all end, and say where it stood.",
  lower_bound=1.0,
)


def run(doc: str) -> None:
  """Parses the command line, runs the mode and ends the process.

  Exit codes: 0 done; 1 a fault of ours, with its traceback, or numbers that
  are not finite; 2 bad input, told in one sentence; 75 stopped by a signal
  with everything saved; 76 another process of the run is lost.

  Args:
    doc: the text above `--help`.
  """

  def main(_):
    from get_jax.cli import launch

    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("get_jax").setLevel(logging.INFO)
    with launch.ending(_refuse):
      workdir, options = _workdir(), _options()
      joined = launch.joined(
        _MODE.value,
        _COORDINATOR.value,
        _NUM_PROCESSES.value,
        _PROCESS_ID.value,
        _STUCK_AFTER.value,
        workdir,
      )
      with joined:
        load_mode(_MODE.value)(_CONFIG.value.lock(), workdir, **options)

  def parse(argv):
    if {"--help", "-help", "--helpfull", "--helpshort"} & set(argv):
      print(f"{doc}\n{flags.FLAGS.module_help(__name__)}")
      sys.exit(0)
    try:
      _check_config(argv)
      flags.FLAGS(argv)
    except (
      flags.Error,
      UsageError,
      AttributeError,
      KeyError,
      TypeError,
      ValueError,
    ) as error:
      _refuse(" ".join(str(error).split()))
    return argv

  app.run(main, flags_parser=parse)


def load_config_file(path: str) -> ConfigDict:
  """Calls `get_config` of "file.py" or "file.py:argument".

  Raises:
    UsageError: there is no such file, or it has no `get_config`.
  """
  file, _, argument = path.partition(":")
  if not pathlib.Path(file).is_file():
    near = _near_files(file)
    raise UsageError(f"--config={file} does not exist; {near}")
  spec = importlib.util.spec_from_file_location("experiment_config", file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise UsageError(f"--config={file} has no function get_config()")
  return module.get_config(argument) if argument else module.get_config()


def _check_config(argv: list[str]) -> None:
  """Refuses a config that is not there, and keys that it cannot have.

  New keys are for sections with a `name` alone: what they name knows its
  settings, and refuses others.
  """
  path = _config_path(argv)
  if path is None:
    raise UsageError("--config is missing; expected a file such as configs/")
  config = load_config_file(path)
  every = sorted(_keys(config))
  for argument in argv[1:]:
    match = re.match(r"--?config\.([\w.]+)(=|\[|$)", argument)
    if not match or match[1] in every:
      continue
    section = match[1].rpartition(".")[0]
    if f"{section}.name" not in every:
      near = difflib.get_close_matches(match[1], every, n=1)
      hint = f"did you mean {near[0]}?" if near else f"it has {every}"
      raise UsageError(
        f"{argument} sets a key that {path} does not have; {hint}"
      )


def _config_path(argv: list[str]) -> str | None:
  for i, argument in enumerate(argv):
    match = re.match(r"--?config(?:=(.*))?$", argument)
    if match:
      following = argv[i + 1] if i + 1 < len(argv) else None
      return match[1] if match[1] is not None else following
  return None


def _keys(config: ConfigDict, prefix: str = ""):
  for key, value in config.items():
    yield prefix + key
    if isinstance(value, ConfigDict):
      yield from _keys(value, f"{prefix}{key}.")


def _near_files(file: str) -> str:
  folder = pathlib.Path(file).parent
  names = sorted(str(p) for p in folder.glob("*.py")) if folder.is_dir() else []
  near = difflib.get_close_matches(file, names, n=1)
  if near:
    return f"did you mean {near[0]}?"
  return "expected a file such as those in configs/"


def _workdir() -> str | None:
  if _WORKDIR.value is None and _MODE.value not in ("summary", "compile"):
    raise UsageError("--workdir is missing; expected a folder for the run")
  return _WORKDIR.value


def _options() -> dict:
  """What was said of the flags that belong to one mode only."""
  given = {}
  for mode, own in (
    ("train", (_PROFILE,)),
    ("convert", (_CHECKPOINT, _EXPORT)),
    ("compile", (_TOPOLOGY, _NUM_SLICES, _STEP, _SEARCH)),
  ):
    said = {flag.name: flag.value for flag in own if flag.value is not None}
    if said and _MODE.value != mode:
      raise UsageError(f"--{next(iter(said))} needs --mode={mode}")
    given |= said
  return given


def _refuse(sentence: str) -> None:
  print(f"{os.path.basename(sys.argv[0])}: {sentence}", file=sys.stderr)
  sys.exit(BAD_INPUT)

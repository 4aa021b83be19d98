"""Defines the flags of the command line."""

from typing import Any

from absl import flags
from ml_collections import config_flags

from get_jax.builders.config_keys import SECTIONS, TOP
from get_jax.errors import UsageError
from get_jax.modes import MODES

CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "The experiment: a name, such as get_digits, or a file, such as "
  "configs/get_digits.py. Append :smoke for a small trial run on synthetic "
  "data. Any key can be overridden, as in --config.batch_size=64. A section "
  "with a name accepts all settings of what it names, as in "
  "--config.model.depth=6.",
  lock_config=False,
  accept_new_attributes=True,
)
LIST = flags.DEFINE_boolean(
  "list", False, "Prints the names of the shipped experiments, and exits."
)
WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Folder of the run, on disk or in a bucket (gs://BUCKET/RUN). A run that is "
  "in it is resumed.",
)
MODE = flags.DEFINE_enum(
  "mode",
  "train",
  MODES,
  "train: trains, or resumes the run in the workdir. sample: generates images. "
  "evaluate: computes scores. curve: computes scores against the training step "
  "or any other setting. latents: encodes a data set for training in latent "
  "space. pairs: generates the teacher's noise/image pairs. convert: imports "
  "an official checkpoint or exports the parameters. summary: counts "
  "parameters and operations. status: shows how far the run in the workdir is, "
  "and needs no config. demo: serves a page that generates images with the run "
  "in the workdir or with --weights, and needs no config. compile: compiles a "
  "step for hardware you do not have and reports its memory, collectives and "
  "time, see --topology. weights: lists official checkpoints and reference "
  "statistics, or fetches --weights; needs neither config nor workdir. summary "
  "and compile need neither data nor workdir.",
)
WEIGHTS = flags.DEFINE_string(
  "weights",
  None,
  "Name of official weights, such as DiT-XL/2-256; --mode=weights lists them. "
  "With --mode=train, sample or evaluate: the parameters to start from; the "
  "experiment is theirs if --config is not given. With --mode=demo: what the "
  "page shows. With --mode=weights: what to fetch.",
)
ACCEPT_LICENCE = flags.DEFINE_boolean(
  "accept_licence",
  False,
  "Accepts the licences of weights that exclude commercial use.",
)
flags.DEFINE_alias("accept_license", "accept_licence")
PROFILE = flags.DEFINE_string(
  "profile",
  None,
  "With --mode=train: first and last step to trace into <workdir>/profile, "
  "such as 100:105.",
)
CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  None,
  "With --mode=convert: the official file to import (.pt, .pth, .safetensors "
  "or EDM's .pkl). Nothing in it is executed.",
)
EXPORT = flags.DEFINE_string(
  "export",
  None,
  "With --mode=convert: the .safetensors file to write the averaged "
  "parameters to, under their official names.",
)
TOPOLOGY = flags.DEFINE_string(
  "topology",
  None,
  "With --mode=compile: the hardware, as chip and grid: v5e:4x4, v5p:8x8x8, "
  "v6e:16x16, tpu7x:4x4x4. For GPUs the number of hosts and the GPUs per host: "
  "h200:1x8.",
)
NUM_SLICES = flags.DEFINE_integer(
  "num_slices",
  None,
  "With --mode=train: number of groups of devices that a slower network "
  "connects. Each has a copy of the state; they exchange gradients only. By "
  "default the TPU slices of the run, and one group of other devices. With "
  "--mode=compile: number of slices of that grid; 1 by default.",
  lower_bound=1,
)
STEP = flags.DEFINE_enum(
  "step",
  None,
  ("train", "sample"),
  "With --mode=compile: compiles the training step (default) or the sampling "
  "of a batch.",
)
SEARCH = flags.DEFINE_boolean(
  "search",
  None,
  "With --mode=compile: searches for the largest batch per device, for each "
  "remat policy and mesh.",
)
CACHE_DIR = flags.DEFINE_string(
  "cache_dir",
  None,
  "Folder on a local disk for what is downloaded: data in buckets, official "
  "weights. It may be deleted at any moment, and processes may share it. "
  "Default: $XDG_CACHE_HOME/get_jax, or ~/.cache/get_jax.",
)
CACHE_SIZE = flags.DEFINE_float(
  "cache_size",
  64.0,
  "Size of the data of buckets in --cache_dir, in GiB, above which what was "
  "not used for the longest time is removed. It should exceed the size of the "
  "data.",
  lower_bound=0.1,
)
KEEP_FREED_MEMORY = flags.DEFINE_boolean(
  "keep_freed_memory",
  True,
  "Keeps freed memory of the host for the next allocation, where the C library "
  "is glibc. Training on a CPU then spends less time in page faults.",
)
PORT = flags.DEFINE_integer(
  "port",
  None,
  "With --mode=demo: port of the page. Default: the first free one from 7860 "
  "on.",
  lower_bound=1,
  upper_bound=65535,
)
COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "Address HOST:PORT of process 0, for a run of several processes; with "
  "--num_processes and --process_id. Cloud TPU and Slurm need none of the "
  "three.",
)
NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes",
  None,
  "Number of processes of the run. With 1, this process runs alone, even on a "
  "cluster.",
  lower_bound=1,
)
PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Index of this process, from 0.", lower_bound=0
)
STUCK_AFTER = flags.DEFINE_float(
  "stuck_after",
  900.0,
  "Seconds without progress after which a process that others wait for counts "
  "as stuck. All processes then exit and print where it is.",
  lower_bound=1.0,
)

MODES_WITHOUT_CONFIG = ("status", "demo", "weights")
MODES_WITHOUT_WORKDIR = ("summary", "compile", "demo", "weights")
WEIGHTS_MODES = ("train", "sample", "evaluate", "demo", "weights")
MODE_FLAGS = {
  "train": (PROFILE, NUM_SLICES),
  "convert": (CHECKPOINT, EXPORT),
  "compile": (TOPOLOGY, NUM_SLICES, STEP, SEARCH),
  "demo": (PORT,),
}


def help_text() -> str:
  """Returns the description of all flags and of the keys of every config."""
  tables = {"": TOP, **{f"{name}.": keys for name, keys in SECTIONS.items()}}
  keys = [
    f"  --config.{prefix}{name}: {key.meaning}\n"
    f"    ({key.expected()}; default {key.default!r})"
    for prefix, keys in tables.items()
    for name, key in keys.items()
  ]
  return (
    f"{flags.FLAGS.module_help(__name__)}\n\n"
    "Config keys (docs/config.md also lists those of every network, process, "
    "sampler and data source):\n" + "\n".join(keys)
  )


def check_config_is_given() -> None:
  """Checks that there is a --config if the mode needs one.

  Raises:
    UsageError: it is missing, or the mode would not use it.
  """
  if CONFIG.value is not None and MODE.value == "demo":
    raise UsageError(
      "--mode=demo uses the config of the run or of the weights; expected no "
      "--config"
    )
  if CONFIG.value is None and MODE.value not in MODES_WITHOUT_CONFIG:
    raise UsageError(
      "--config is missing; expected an experiment, such as dit_digits, or a "
      "file; --list prints the experiments"
    )


def workdir() -> str | None:
  """Returns --workdir.

  Raises:
    UsageError: it is missing and the mode needs it, or it is no path.
  """
  if WORKDIR.value is None and MODE.value not in MODES_WITHOUT_WORKDIR:
    raise UsageError("--workdir is missing; expected a folder for the run")
  if WORKDIR.value is None:
    return None
  # Imported here, because --help does not need it.
  from get_jax.storage.paths import as_path

  return str(as_path(WORKDIR.value))


def mode_options() -> dict[str, Any]:
  """Returns the given flags that belong to the mode, by name.

  Raises:
    UsageError: a given flag belongs to other modes.
  """
  own = {flag.name: flag.value for flag in MODE_FLAGS.get(MODE.value, ())}
  for mode, mode_flags in MODE_FLAGS.items():
    for flag in mode_flags:
      if flag.value is not None and flag.name not in own:
        raise UsageError(f"--{flag.name} needs --mode={mode}")
  return {name: value for name, value in own.items() if value is not None}


def weights_options() -> dict[str, Any]:
  """Returns --weights as an option of a mode without a config.

  In other modes it is a setting of the experiment, and nothing is returned.

  Raises:
    UsageError: it is given in a mode that does not use it.
  """
  if WEIGHTS.value is None:
    return {}
  if MODE.value not in WEIGHTS_MODES:
    raise UsageError(
      f"--weights needs one of --mode={', '.join(WEIGHTS_MODES)}; found "
      f"--mode={MODE.value}"
    )
  has_config = MODE.value not in MODES_WITHOUT_CONFIG
  return {} if has_config else {"weights": WEIGHTS.value}

"""The flag --weights: an experiment that starts from published weights."""

import re
from collections.abc import Sequence

import ml_collections

from get_jax.cli.flags import MODES_WITHOUT_CONFIG
from get_jax.errors import UsageError


def add_config_flag(argv: Sequence[str]) -> list[str]:
  """Returns the command line with the --config that --weights belongs to.

  Args:
    argv: the command line, program name first. It stays as it is with --config,
      without --weights, and in modes that need no config.

  Raises:
    UsageError: the weights are unknown, or not those of a network.
  """
  name = _value(argv, "weights")
  needs_config = _value(argv, "mode") not in MODES_WITHOUT_CONFIG
  if name is None or _value(argv, "config") is not None or not needs_config:
    return list(argv)
  # Imports JAX, which takes seconds.
  from get_jax.weights import find

  config = find(name, "network").config
  return [*argv[:1], f"--config={config}", *argv[1:]]


def start_from_weights(
  config: ml_collections.ConfigDict,
  name: str,
  mode: str,
  workdir: str | None,
) -> None:
  """Makes an experiment start from published weights.

  Latents are decoded with the autoencoder of the published scores, if the
  config names none.

  Args:
    config: the experiment.
    name: name of the weights of a network.
    mode: value of --mode.
    workdir: folder of the run.

  Raises:
    UsageError: the weights are unknown, or the config or the run has other
      parameters.
  """
  from get_jax.training.checkpoints import latest_step
  from get_jax.weights import find

  entry = find(name, "network")
  if config.get("init_from") not in (None, "", name):
    raise UsageError(
      f"--weights={name} contradicts init_from={config.init_from}; expected "
      "one of them"
    )
  if mode != "train" and workdir and latest_step(workdir) is not None:
    raise UsageError(
      f"--workdir={workdir} has checkpoints of its own, which --mode={mode} "
      f"uses instead of --weights={name}; expected another workdir"
    )
  config.init_from = name
  if entry.autoencoder and not config.autoencoder.weights:
    config.autoencoder.weights = entry.autoencoder


def _value(argv: Sequence[str], flag: str) -> str | None:
  """Returns the value of a flag; None if it is not given."""
  for i, argument in enumerate(argv):
    match = re.match(rf"--?{flag}(?:=(.*))?$", argument)
    if match:
      following = argv[i + 1] if i + 1 < len(argv) else None
      return match[1] if match[1] is not None else following
  return None

"""Tiny experiments, command lines and environments for the tests."""

import os
import pathlib
import socket
import subprocess
import sys

from tests import fork_server
from tests.xla_flags import xla_flags

ROOT = pathlib.Path(__file__).parents[1]

# A denoiser with a few thousand parameters.
TINY = {
  "model.hidden_size": 32,
  "model.depth": 1,
  "model.num_heads": 2,
  "batch_size": 16,
  "num_steps": 40,
  "log_every": 4,
  "checkpoint_every": 10,
  "sampling.count": 16,
  "sampling.batch_size": 16,
  "sampler.num_steps": 3,
  "evaluation.count": 64,
}

# Makes the whole job of configs/get_digits.py run in seconds.
TINY_JOB = {
  "teacher.model.hidden_size": 32,
  "teacher.model.depth": 1,
  "teacher.model.num_heads": 2,
  "teacher.batch_size": 16,
  "teacher.num_steps": 8,
  "teacher.sampler.num_steps": 4,
  "teacher.sampling.batch_size": 16,
  "pairs.count": 96,
  "pairs.shard_size": 16,
  "model.hidden_size": 32,
  "model.num_heads": 2,
  "batch_size": 16,
  "num_steps": 8,
  "log_every": 2,
  "distillation.iterations": 2,
  "sampling.iterations": 2,
  "sampling.batch_size": 50,
  "evaluation.count": 100,
  "report.iterations": (1, 2),
}


def tiny_job(**overrides):
  """Returns a tiny configs/get_digits.py; in keys "__" stands for a dot."""
  from configs import get_digits

  config = get_digits.get_config()
  overrides = {k.replace("__", "."): v for k, v in overrides.items()}
  config.update_from_flattened_dict({**TINY_JOB, **overrides})
  return config


def tiny_config(**overrides):
  """Returns a tiny configs/dit_digits.py; in keys "__" stands for a dot."""
  from configs import dit_digits

  config = dit_digits.get_config()
  overrides = {k.replace("__", "."): v for k, v in overrides.items()}
  config.update_from_flattened_dict({**TINY, **overrides})
  return config


def tiny_denoiser():
  """Returns a tiny denoiser with guidance whose process has many samplers."""
  config = tiny_config(model__null_class=True)
  config.process = {"name": "adm"}
  config.sampler = {"name": "ddim", "num_steps": 5}
  return config


def arguments(workdir, **overrides) -> list[str]:
  """Returns the command line of `tiny_config`."""
  return arguments_of("configs/dit_digits.py", workdir, TINY, **overrides)


def arguments_of(config, workdir, settings, **overrides) -> list[str]:
  """Returns a command line of main.py; in keys "__" stands for a dot."""
  overrides = {k.replace("__", "."): v for k, v in overrides.items()}
  return [
    sys.executable,
    "main.py",
    f"--config={config}",
    f"--workdir={workdir}",
    *(f"--config.{k}={v}" for k, v in {**settings, **overrides}.items()),
  ]


def environment(devices: int = 1, optimized: bool = False) -> dict[str, str]:
  """Returns the environment of a process with a number of CPU devices.

  With `optimized`, it compiles programs as it does for users.
  """
  flags = xla_flags(devices, optimized)
  return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def free_port() -> int:
  """Returns a free port of this machine."""
  with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


def start_main(
  *args: str, devices: int = 1, stdout=None, stderr=None
) -> fork_server.Process:
  """Starts main.py, or a whole command line.

  Args:
    *args: arguments of main.py, or a command line of Python.
    devices: number of simulated CPU devices.
    stdout: path that the output is written to. None: a temporary file.
    stderr: the same for messages.
  """
  is_command = bool(args) and args[0] == sys.executable
  command = [*args] if is_command else [sys.executable, "main.py", *args]
  return fork_server.Process(command, environment(devices), stdout, stderr)


def run_main(*args: str, timeout: float = 300) -> subprocess.CompletedProcess:
  """Runs main.py, or a whole command line, and captures its output."""
  process = start_main(*args)
  stdout, stderr = process.communicate(timeout)
  return subprocess.CompletedProcess(
    process.args, process.returncode, stdout, stderr
  )

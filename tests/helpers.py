"""Small experiments for the tests."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

# A denoiser of some thousand parameters.
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

# For processes that compute little: most of their time is the compiler's.
UNOPTIMIZED = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

# The whole job of configs/get_digits.py in seconds.
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
  """configs/get_digits.py, made tiny; keys with "__" for dots."""
  from configs import get_digits

  config = get_digits.get_config()
  overrides = {k.replace("__", "."): v for k, v in overrides.items()}
  config.update_from_flattened_dict({**TINY_JOB, **overrides})
  return config


def tiny_config(**overrides):
  """configs/dit_digits.py, made tiny; keys with "__" for dots."""
  from configs import dit_digits

  config = dit_digits.get_config()
  overrides = {k.replace("__", "."): v for k, v in overrides.items()}
  config.update_from_flattened_dict({**TINY, **overrides})
  return config


def arguments(workdir, **overrides) -> list[str]:
  """The command line of the same."""
  return arguments_of("configs/dit_digits.py", workdir, TINY, **overrides)


def arguments_of(config, workdir, settings, **overrides) -> list[str]:
  """A command line of main.py with settings; keys with "__" for dots."""
  overrides = {k.replace("__", "."): v for k, v in overrides.items()}
  return [
    sys.executable,
    "main.py",
    f"--config={config}",
    f"--workdir={workdir}",
    *(f"--config.{k}={v}" for k, v in {**settings, **overrides}.items()),
  ]


def environment(devices: int = 1) -> dict[str, str]:
  """Environment of a process with so many CPU devices."""
  flags = f"--xla_force_host_platform_device_count={devices}"
  return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def free_port() -> int:
  """A port of this machine that nobody listens at."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]


def run_main(*args: str, timeout: float = 300) -> subprocess.CompletedProcess:
  """Runs main.py to its end; the output is kept."""
  command = args if args and args[0] == sys.executable else ()
  command = list(command or (sys.executable, "main.py", *args))
  return subprocess.run(
    command,
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=timeout,
  )

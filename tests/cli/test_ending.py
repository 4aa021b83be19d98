"""How every mode ends: its exit code, and the last line on the screen."""

import errno
import re
import signal
from unittest import mock

import jax
import numpy as np
import pytest

from get_jax.builders.model import build_model
from get_jax.cli.exit import exit_on_error, interrupted_by_signals
from get_jax.errors import UsageError
from get_jax.models.parameters import abstract_params
from get_jax.modes import convert, load_mode, weights
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.preemption import handle_stop_signals
from tests.faults.programs import compiled_once
from tests.helpers import tiny_config, tiny_job
from tests.modes.test_latents import config_of

# After a signal that arrived before the first step or batch, and at the end.
ENDINGS = {
  "train": (
    r"train after step 1 of 2, saved",
    r"2 steps in .+; report page .+",
  ),
  "pairs": (r"pairs after 0 of 8", r"8 pairs in .+/pairs"),
  "latents": (r"latents before shard 0", r"10 latents in .+/latents"),
  "sample": (r"sampling after 0 of 8", r"8 samples in .+npz and .+png"),
  "evaluate": (r"evaluating after 0 of 24", r"scores in .+; report page .+"),
  "curve": (r"step=0 after 0 of 24", r"plot in .+png; report page .+"),
  "convert": (r"SIGINT", r"exported to .+\.safetensors"),
  "weights": (r"SIGINT", r"get-digits is in .+"),
}


@pytest.fixture(scope="module")
def config():
  return tiny_config(
    num_steps=2,
    checkpoint_every=2,
    preview_every=0,
    sampling__count=8,
    sampling__batch_size=8,
    evaluation__count=24,
  )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory, tiny_autoencoder, one_device):
  """(mode, workdir) -> None; runs a mode on the parameters of a network."""
  trained = tmp_path_factory.mktemp("trained")
  rng = np.random.RandomState(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype),
    abstract_params(build_model(config)),
  )
  with Checkpoints(trained / "checkpoints") as checkpoints:
    checkpoints.save_params(params)
  folder = tmp_path_factory.mktemp("ending")
  job = tiny_job(
    pairs__teacher_workdir=str(trained),
    pairs__count=8,
    teacher__sampling__batch_size=8,
  )
  # Other features than those of `evaluate`, which the curve would take over.
  curve = config.copy_and_resolve_references()
  curve.evaluation.seed = 2
  autoencoder = str(tiny_autoencoder(latent_channels=2)[0])
  latents = config_of(autoencoder, folder / "latents")
  export = str(folder / "exported.safetensors")

  def run(mode, workdir=None):
    own = str(folder / mode) if mode in ("train", "pairs", "latents") else None
    workdir = workdir or own or str(trained)
    if mode == "weights":
      weights.run("get-digits" if workdir == str(trained) else "get-digit")
    elif mode == "convert":
      convert.run(config, workdir, export=export)
    else:
      configs = {"pairs": job, "latents": latents, "curve": curve}
      load_mode(mode)(configs.get(mode, config), workdir)

  with compiled_once():
    yield run


@pytest.fixture
def end(capsys):
  """(function) -> exit code and last line of a program."""

  def end(fn):
    code = 0
    try:
      with exit_on_error():
        fn()
    except SystemExit as exit:
      code = exit.code
    output, messages = capsys.readouterr()
    # A terminal may break a line of the tables, but not the last one.
    return code, (messages if code else output).splitlines()[-1]

  return end


@pytest.mark.parametrize("mode", ENDINGS)
def test_the_last_line_of_a_mode(mode, run, end):
  where, made = ENDINGS[mode]

  def interrupt(*_, **__):
    signal.raise_signal(signal.SIGINT)

  def stop():
    with handle_stop_signals():
      signal.raise_signal(signal.SIGTERM)
      run(mode)

  def stop_anywhere():
    with (
      interrupted_by_signals(),
      mock.patch.object(convert, "export_checkpoint", interrupt),
      mock.patch.object(weights, "fetch", interrupt),
    ):
      run(mode)

  handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  code, line = end(stop_anywhere if where == "SIGINT" else stop)
  assert code == 75, line
  assert re.fullmatch(
    rf"Stopped: {where}; run the same command again to resume", line
  )
  code, line = end(lambda: run(mode))
  assert code == 0, line
  assert re.fullmatch(f"Finished: {made}", line)
  code, line = end(lambda: run(mode, __file__))
  assert code == 2, line
  assert re.fullmatch(
    r"Failed: .*(test_ending.py cannot be written|'get-digit').*", line
  )
  after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  assert after == handlers


@pytest.mark.parametrize(
  ("error", "code", "line"),
  [
    (UsageError("no such file"), 2, "Failed: no such file"),
    (
      OSError(errno.ENOSPC, "No space left on device", "run/file"),
      2,
      "Failed: a file of the run cannot be read or written: No space left on "
      "device (run/file); what is complete is kept, and the same command "
      "continues from there",
    ),
    (
      FloatingPointError("the loss is not finite at step 3"),
      1,
      "Failed: the loss is not finite at step 3",
    ),
    (KeyError("two\nlines"), 1, r"Failed: KeyError: 'two\nlines'"),
  ],
)
def test_the_last_line_of_an_error(error, code, line, end):
  def fail():
    raise error

  assert end(fail) == (code, line)


def test_a_fault_keeps_its_traceback(capsys):
  with pytest.raises(SystemExit), exit_on_error():
    raise AssertionError("a bug")
  *traceback, last = capsys.readouterr().err.splitlines()
  assert traceback[0].startswith("Traceback")
  assert any(
    "in test_a_fault_keeps_its_traceback" in each for each in traceback
  )
  assert last == "Failed: AssertionError: a bug"

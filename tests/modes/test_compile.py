"""--mode=compile: refused input, and one pod that this machine lacks."""

import importlib.util
import json

import pytest

from configs import uvit_s2_coco
from get_jax.aot.lower import count_operations, lower_step
from get_jax.aot.report import compile_report
from get_jax.builders.model import build_model
from get_jax.errors import UsageError
from get_jax.hardware.topology import find_topology
from get_jax.models.counting import model_size
from get_jax.modes import compile as compile_mode
from tests.helpers import run_main, tiny_config

DIGITS = "--config=configs/dit_digits.py"


def test_a_topology_belongs_to_the_mode():
  done = run_main(DIGITS, "--workdir=x", "--topology=v5e:4x4")
  assert done.returncode == 2
  assert done.stderr.splitlines() == ["Failed: --topology needs --mode=compile"]


def test_a_missing_topology_is_refused():
  with pytest.raises(UsageError, match="--topology is missing"):
    compile_mode.run(tiny_config(), None)


@pytest.mark.parametrize(
  ("name", "extra"), [("v5e:2x2", "tpu"), ("h100:1x8", "cuda12")]
)
def test_a_compiler_that_is_not_installed_is_named(monkeypatch, name, extra):
  monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
  with pytest.raises(UsageError, match=rf"--topology={name} needs .*\[{extra}"):
    find_topology(name)


def test_operations_are_three_forward_passes():
  """The gradient of a product is two; that of the inputs is not taken."""
  config = tiny_config()
  forward = 2 * config.batch_size * model_size(build_model(config)).macs
  needed, done = count_operations(config, "train")
  assert done == needed
  assert 0.95 * 3 * forward < needed <= 3 * forward
  config.model.remat = "full"
  assert count_operations(config, "train")[0] == needed
  again = count_operations(config, "train")[1] - needed
  assert 0.5 * forward < again < forward


def test_operations_of_sampling_are_those_of_its_evaluations():
  config = tiny_config()  # Heun: 2 evaluations a step, 1 in the last
  forward = (
    2 * config.sampling.batch_size * model_size(build_model(config)).macs
  )
  assert count_operations(config, "sample") == (5 * forward, 5 * forward)


@pytest.mark.parametrize("kind", ["train", "sample"])
def test_a_step_is_made_from_shapes_alone(kind):
  import jax

  config = tiny_config(mesh__data=2, mesh__fsdp=4)
  step = lower_step(config, kind, jax.devices()[:8])
  memory = step.lowered.compile().memory_analysis()
  assert (step.images, step.passes) == (16, 1 if kind == "train" else 5)
  assert memory.argument_size_in_bytes == step.arguments


def test_caption_files_are_not_needed():
  config = uvit_s2_coco.get_config()
  config.batch_size = 2
  needed, done = count_operations(config, "train")
  forward = 2 * 2 * model_size(build_model(config)).macs
  assert 0.95 * 3 * forward < needed == done <= 3 * forward


needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason='libtpu is not installed: pip install -e ".[tpu]"',
)


@needs_libtpu
def test_a_topology_that_libtpu_does_not_know():
  with pytest.raises(UsageError, match="--topology=v5e:3x5 is not known"):
    find_topology("v5e:3x5")


@needs_libtpu
def test_fsdp_on_a_pod_of_four(tmp_path):
  """The state is split in four; each use of a layer gathers it once."""
  settings = {
    "model.hidden_size": 512,
    "model.num_heads": 8,
    "model.depth": 3,
    "model.scan": True,
    "model.dtype": "bfloat16",
    "mesh.data": 1,
    "mesh.fsdp": 4,
  }
  done = run_main(
    DIGITS,
    f"--workdir={tmp_path}",
    "--mode=compile",
    "--topology=v5e:2x2",
    *(f"--config.{k}={v}" for k, v in settings.items()),
    timeout=500,
  )
  assert done.returncode == 0, done.stderr
  assert "Fits, with 15." in done.stdout
  figures = json.loads((tmp_path / "results" / "compile.json").read_text())
  assert figures["fits"]
  assert figures["available"] == 15.75 * 2**30
  assert figures["state"] / 4 < figures["arguments"]
  assert figures["arguments"] < 1.1 * figures["state"] / 4
  assert figures["memory"]["arguments"] >= figures["arguments"]
  sent = figures["collectives"]
  assert "all-to-all" not in sent
  assert sent.get("collective-permute", {"count": 0})["count"] < 10
  # qkv, proj, fc1, fc2 and adaLN: 18 d^2 a layer, in bfloat16, both ways.
  layers = 2 * 3 * 2 * 18 * 512**2
  assert layers < sent["all-gather"]["bytes"] < 1.5 * layers


@needs_libtpu
def test_insufficient_memory_is_reported():
  config = tiny_config(batch_size=2**18, model__hidden_size=1024)
  report = compile_report(config, "train", find_topology("v5e:1x1"))
  assert not report.fits
  assert report.memory is None
  assert report.needed > report.available == 15.75 * 2**30

"""The page of --mode=demo, whose functions are called without a browser."""

import base64
import io
import re
import socket

import jax
import numpy as np
import pytest
from PIL import Image

from get_jax import Pipeline
from get_jax.builders.model import build_init, build_model, build_student
from get_jax.demo.networks import load_published, load_run
from get_jax.demo.settings import EACH_CLASS, settings_of
from get_jax.demo.timing import TimedPipeline
from get_jax.diffusion.noise import SampleNoise
from get_jax.errors import UsageError
from get_jax.generation.grids import tile
from get_jax.modes import demo
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.rng import named_key
from get_jax.training.workdir import open_workdir
from tests.helpers import run_main, tiny_denoiser, tiny_job

COUNT = 8  # one image for each device
LABELS = list(range(COUNT))


@pytest.fixture(scope="module")
def digits():
  return load_published("get-digits")


@pytest.fixture(scope="module")
def gradio():
  return pytest.importorskip("gradio", reason="Gradio is not installed")


@pytest.fixture(scope="module")
def page(gradio, digits):
  """Calls Generate, and returns the values of the elements by their ID."""
  from get_jax.demo.page import build_page

  blocks = build_page(digits)
  function = next(f for f in blocks.fns.values() if f.name == "generate")

  def generate(**changed):
    values = {c: c.value for c in function.inputs}
    names = {c.elem_id: c for c in function.inputs}
    values |= {names[name]: value for name, value in changed.items()}
    updates = function.fn(values)
    return {c.elem_id: update for c, update in updates.items()}

  return generate


def save(workdir, config):
  """Saves a network with which every input has an effect."""
  params = jax.jit(build_init(build_model(config)))(jax.random.key(0))
  params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.05, params)
  open_workdir(workdir, config)
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    checkpoints.save_params(params)


def pixels_in(figure):
  """Returns the pixels of the PNG in a figure."""
  data = re.search(r"data:image/png;base64,([^\"]+)", figure)[1]
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def points_of(chart):
  """Returns the number of points of the line in a chart."""
  (line,) = re.findall(r'<path d="([^"]*)"[^>]*stroke: #3f7fd0', chart)
  return len(re.findall("[ML]", line))


def test_the_images_are_those_of_the_pipeline(page, digits):
  shown = page(count=COUNT, seed=3)
  images = digits.pipeline(class_labels=LABELS, seed=3)
  np.testing.assert_array_equal(pixels_in(shown["student"]), tile(images, 3))
  again = page(count=COUNT, seed=3, **{"class": 5})["student"]
  assert re.search(r"8 images in [\d.]+ m?s, [\d.]+ m?s per image", again)
  images = digits.pipeline(class_labels=[5] * COUNT, seed=3)
  np.testing.assert_array_equal(pixels_in(again), tile(images, 3))


def test_the_first_images_of_a_program_are_timed_with_its_compilation(page):
  count = COUNT - 1
  assert "with the compilation" in page(count=count, seed=3)["student"]
  assert "per image" in page(count=count, seed=4)["student"]


def test_the_curve_has_a_point_for_each_iteration(page):
  six, three = (
    page(count=COUNT, iterations=n)["curve"]["value"] for n in (6, 3)
  )
  assert "after 6 iterations" in six and "after 3 iterations" in three
  assert points_of(six) == 6 and points_of(three) == 3


def test_the_residuals_are_those_of_the_images(digits):
  pipe = digits.pipeline
  timed = TimedPipeline(pipe)
  arguments = dict(count=COUNT, seed=1, class_labels=LABELS)
  residuals = timed.residuals(**arguments, iterations=4)
  assert residuals.shape == (4, COUNT)
  noise = SampleNoise.create(named_key(1, "sample"), np.arange(COUNT))
  student = build_student(pipe.config, pipe.model)
  images = student(pipe.params, noise, np.arange(COUNT), 4)
  shown = timed(**arguments, iterations=4).images / 127.5 - 1
  np.testing.assert_allclose(
    shown, np.clip(images, -1, 1), rtol=0, atol=1.01 / 127.5
  )
  # The first evaluation starts from zeros: f(0) - 0 is all of f(0).
  np.testing.assert_allclose(residuals[0], 1, rtol=1e-5)
  np.testing.assert_allclose(
    timed.residuals(**arguments, iterations=2), residuals[:2], rtol=1e-4
  )


def test_the_teacher_has_the_same_noise_and_classes(page, digits):
  shown = page(count=COUNT, **{"show-teacher": True})
  teacher = Pipeline.load("dit-digits")
  images = teacher(class_labels=LABELS, seed=0)
  np.testing.assert_array_equal(pixels_in(shown["teacher"]), tile(images, 3))
  assert "teacher" not in page(count=COUNT)


def test_a_wrong_value_is_a_sentence(page, gradio):
  with pytest.raises(gradio.Error) as error:
    page(count=COUNT, seed=-5)
  assert error.value.message == (
    "seed is -5; expected an integer from 0 to 4294967295"
  )
  assert not error.value.print_exception
  with pytest.raises(gradio.Error, match="seed is None"):
    page(count=COUNT, seed=None)


def test_the_teacher_of_a_run(tmp_path):
  config = tiny_job()
  save(tmp_path, config)
  assert load_run(str(tmp_path)).teacher is None
  save(tmp_path / "teacher", config.teacher)
  networks = load_run(str(tmp_path))
  assert networks.name == tmp_path.name
  assert networks.teacher.load().model == build_model(config.teacher)


def test_the_settings_of_a_denoiser(tmp_path, gradio, unchecked_types):
  from get_jax.demo.page import build_page

  save(tmp_path, tiny_denoiser())
  networks = load_run(str(tmp_path))
  settings = settings_of(networks.pipeline)
  assert (settings.sampler, settings.steps) == ("ddim", 5)
  # Heun's sampler needs another process.
  assert {"ddim", "dpm_solver++", "dpm_solver_adaptive"} < set(
    settings.samplers
  )
  assert "heun" not in settings.samplers
  assert (settings.guidance, settings.iterations) == (1, None)
  values = dict(
    count=3, seed=4, sampler="ddim", steps=5, guidance=2.0, caption="unused"
  )
  values["class"] = EACH_CLASS
  # What the config sets remains unset, so that its other settings hold.
  assert settings.arguments(values) == dict(
    count=3,
    seed=4,
    class_labels=[0, 1, 2],
    sampler=None,
    steps=None,
    guidance=2.0,
  )
  other = settings.arguments(values | {"sampler": "dpm_solver++"})
  assert (other["sampler"], other["steps"]) == ("dpm_solver++", 5)
  adaptive = settings.arguments(values | {"sampler": "dpm_solver_adaptive"})
  assert adaptive["steps"] is None
  ids = {block.elem_id for block in build_page(networks).blocks.values()}
  assert {"class", "sampler", "steps", "guidance"} <= ids
  assert not {"iterations", "show-teacher", "caption"} & ids


def test_ports(gradio):
  from get_jax.demo.server import choose_port

  with socket.socket() as other:
    other.bind(("127.0.0.1", 0))
    other.listen()
    port = other.getsockname()[1]
    with pytest.raises(UsageError, match=f"--port={port} cannot be used .*use"):
      choose_port(port)
  assert choose_port(port) == port
  assert choose_port(None) >= 7860


def test_gradio_is_not_installed(monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(UsageError, match=r"pip install 'get_jax\[demo\]'"):
    demo.run(weights="get-digits")


def test_networks_that_do_not_exist(gradio):
  with pytest.raises(UsageError, match="did you mean 'get-digits'"):
    demo.run(weights="get-digit")
  with pytest.raises(UsageError, match="no/such/run"):
    demo.run(workdir="no/such/run")


def test_a_workdir_or_weights():
  with pytest.raises(UsageError, match="found both of --workdir and --weights"):
    demo.run(workdir="x", weights="get-digits")


@pytest.mark.parametrize(
  "arguments, sentence",
  [
    ([], "found neither of --workdir and --weights"),
    (["--weights=get-digits", "--port=70000"], "--port=70000"),
    (["--workdir=x", "--config=get_digits"], "expected no --config"),
  ],
)
def test_wrong_flags(arguments, sentence):
  done = run_main("--mode=demo", *arguments)
  assert done.returncode == 2, done.stderr
  (line,) = filter(None, done.stderr.splitlines())
  assert sentence in line

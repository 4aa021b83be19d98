"""The page of --mode=demo in Chromium, served by the real command line."""

import base64
import io
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import jax
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from get_jax import Pipeline
from get_jax.builders.model import build_init, build_model
from get_jax.generation.grids import tile
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.workdir import open_workdir
from tests.helpers import ROOT, tiny_denoiser

SCREENSHOTS = pathlib.Path(os.environ["SCREENSHOTS"])
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
TIMEOUT = 120_000  # milliseconds, on a machine that is busy
COUNT = 8
LABELS = list(range(COUNT))
expect.set_options(timeout=TIMEOUT)


class Server:
  """`main.py --mode=demo` in a process of its own."""

  def __init__(self, *arguments):
    self.process = subprocess.Popen(
      [sys.executable, "main.py", "--mode=demo", *arguments],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def wait_for_url(self):
    """Returns the address that the server prints when it is ready."""
    line = self.process.stdout.readline()
    match = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert match, line + self.process.stderr.read()
    return match[0]

  def stop(self, number):
    """Sends a signal; returns the exit code and the messages."""
    self.process.send_signal(number)
    _, messages = self.process.communicate(timeout=60)
    return self.process.returncode, messages


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
  """The run of a denoiser with guidance."""
  folder = tmp_path_factory.mktemp("runs") / "tiny-dit"
  config = tiny_denoiser()
  params = jax.jit(build_init(build_model(config)))(jax.random.key(0))
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: leaf + 0.1 * random.normal(size=leaf.shape).astype("f4"),
    params,
  )
  open_workdir(folder, config)
  with Checkpoints(folder / "checkpoints") as checkpoints:
    checkpoints.save_params(params)
  return folder


@pytest.fixture(scope="session")
def servers(workdir):
  """One server of packaged weights and one of a run; both start at once."""
  started = {
    "get-digits": Server("--weights=get-digits"),
    "tiny-dit": Server(f"--workdir={workdir}", f"--port={free_port()}"),
  }
  yield started
  for server in started.values():
    server.process.kill()
    server.process.communicate()


@pytest.fixture(scope="session")
def urls(servers):
  return {name: server.wait_for_url() for name, server in servers.items()}


@pytest.fixture(scope="session")
def browser():
  with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(
      executable_path=CHROMIUM, args=["--no-sandbox"]
    )
    yield chromium
    chromium.close()


@pytest.fixture
def open_page(browser, urls):
  """Opens a page; at the end checks what it requested and its errors."""
  requests, errors, pages = [], [], []

  def open_(name="get-digits", width=1280, height=900):
    page = browser.new_page(viewport={"width": width, "height": height})
    pages.append(page)
    page.set_default_timeout(TIMEOUT)
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(urls[name])
    expect(page.locator("#student .empty")).to_be_visible()
    return page

  yield open_
  for page in pages:
    page.close()
  local = re.compile(r"(http://127\.0\.0\.1:\d+/|data:|blob:http://127\.0)")
  assert [url for url in requests if not local.match(url)] == []
  assert errors == []


@pytest.fixture(scope="session")
def digits():
  return Pipeline.load("get-digits")


def free_port():
  with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


def screenshot(page, name):
  SCREENSHOTS.mkdir(parents=True, exist_ok=True)
  page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def shown(page, role="student"):
  """Returns the pixels of a picture on the page."""
  source = page.locator(f"#{role} img").get_attribute("src")
  data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
  return np.asarray(Image.open(io.BytesIO(data)))


def press(page, label):
  """Presses Generate, and waits for the images that `label` describes."""
  page.click("#generate")
  finished(page, label)


def finished(page, label, role="student"):
  expect(page.locator(f"#{role} .note")).to_contain_text(label)
  expect(page.locator("#generate")).to_be_enabled()


def set_number(page, control, value):
  box = page.locator(f"#{control} input[type=number]")
  box.fill(str(value))
  box.blur()


def choose(page, control, option):
  page.click(f"#{control} input")
  page.get_by_role("option", name=option, exact=True).click()


def test_images_of_a_class_and_a_seed(open_page, digits):
  page = open_page()
  expect(page).to_have_title("get-digits")
  expect(page.locator("h1")).to_have_text("get-digits")
  screenshot(page, "desktop-before")
  set_number(page, "count", COUNT)
  press(page, "8 images in")
  images = digits(class_labels=LABELS, seed=0)
  np.testing.assert_array_equal(shown(page), tile(images, 3))
  screenshot(page, "desktop-after")
  choose(page, "class", "7")
  set_number(page, "seed", 3)
  before = shown(page)
  page.click("#generate")
  page.wait_for_function(
    "old => document.querySelector('#student img').src != old",
    arg=page.locator("#student img").get_attribute("src"),
  )
  images = digits(class_labels=[7] * COUNT, seed=3)
  np.testing.assert_array_equal(shown(page), tile(images, 3))
  assert (shown(page) != before).any()
  # The program is compiled, so that the time is that of the images.
  expect(page.locator("#student .note")).to_contain_text("per image")
  with page.expect_download() as download:
    page.get_by_text("Save as PNG").click()
  assert download.value.suggested_filename == "get-digits-3.png"
  saved = np.asarray(Image.open(download.value.path()))
  np.testing.assert_array_equal(saved, tile(images, 3))


def test_the_slider_of_iterations(open_page, digits):
  page = open_page()
  set_number(page, "count", COUNT)
  press(page, "8 images in")
  expect(page.locator("#curve .note")).to_contain_text("after 6 iterations")
  before = page.locator("#curve svg").inner_html()
  slider = page.locator("#iterations input[type=range]")
  box = slider.bounding_box()
  slider.click(position={"x": box["width"] - 2, "y": box["height"] / 2})
  # Without the button.
  expect(page.locator("#curve .note")).to_contain_text("after 24 iterations")
  assert page.locator("#curve svg").inner_html() != before
  images = digits(class_labels=LABELS, seed=0, iterations=24)
  np.testing.assert_array_equal(shown(page), tile(images, 3))


def test_the_teacher_beside_the_student(open_page):
  page = open_page()
  set_number(page, "count", COUNT)
  expect(page.locator("#teacher")).to_be_hidden()
  page.check("#show-teacher input")
  finished(page, "8 images in", "teacher")
  teacher = Pipeline.load("dit-digits")
  images = teacher(class_labels=LABELS, seed=0)
  np.testing.assert_array_equal(shown(page, "teacher"), tile(images, 3))
  student, other = (
    page.locator(f"#{role} img").bounding_box()
    for role in ("student", "teacher")
  )
  assert student["y"] == other["y"] and student["x"] < other["x"]
  screenshot(page, "desktop-teacher")
  page.uncheck("#show-teacher input")
  expect(page.locator("#teacher")).to_be_hidden()


def test_a_wrong_value_is_a_sentence(open_page):
  page = open_page()
  set_number(page, "seed", -5)
  page.click("#generate")
  expect(
    page.get_by_text("seed is -5; expected an integer from 0 to 4294967295")
  ).to_be_visible()
  assert "Traceback" not in page.content()
  page.wait_for_timeout(500)  # The message fades in; only the picture waits.
  screenshot(page, "desktop-error")
  set_number(page, "seed", 1)
  press(page, "20 images in")


def test_a_narrow_window(open_page):
  page = open_page(width=400, height=800)
  screenshot(page, "narrow-before")
  set_number(page, "count", COUNT)
  page.check("#show-teacher input")
  finished(page, "8 images in", "teacher")
  screenshot(page, "narrow-after")
  assert page.evaluate("document.documentElement.scrollWidth") <= 400
  for part in ("#student img", "#teacher img", "#curve svg", "#generate"):
    box = page.locator(part).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 400, part


def test_a_run_with_samplers_and_guidance(open_page, workdir):
  page = open_page("tiny-dit")
  pipeline = Pipeline.load(workdir)
  set_number(page, "count", COUNT)
  press(page, "8 images in")
  images = pipeline(class_labels=LABELS, seed=0)
  np.testing.assert_array_equal(shown(page), tile(images, 3))
  choose(page, "sampler", "dpm_solver_adaptive")
  expect(page.locator("#steps")).to_be_hidden()
  choose(page, "sampler", "dpm_solver++")
  expect(page.locator("#steps")).to_be_visible()
  set_number(page, "steps", 4)
  set_number(page, "guidance", 2.5)
  before = page.locator("#student img").get_attribute("src")
  page.click("#generate")
  page.wait_for_function(
    "old => document.querySelector('#student img').src != old", arg=before
  )
  images = pipeline(
    class_labels=LABELS, seed=0, sampler="dpm_solver++", steps=4, guidance=2.5
  )
  np.testing.assert_array_equal(shown(page), tile(images, 3))
  expect(page.locator("#iterations")).to_have_count(0)
  expect(page.locator("#show-teacher")).to_have_count(0)
  screenshot(page, "desktop-denoiser")


@pytest.mark.parametrize("route", ["/file=", "/gradio_api/file="])
@pytest.mark.parametrize("path", ["/etc/passwd", f"{ROOT}/setup.py"])
def test_files_are_not_served(urls, route, path):
  with pytest.raises(urllib.error.HTTPError) as error:
    urllib.request.urlopen(urls["get-digits"] + route + path)
  assert error.value.code in (403, 404)


def test_other_machines_cannot_connect(urls):
  """The server listens on the loopback address alone."""
  port = int(urls["get-digits"].rsplit(":", 1)[1])
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(("192.0.2.1", 9))  # sends nothing
    own = probe.getsockname()[0]
  with pytest.raises(ConnectionRefusedError):
    socket.create_connection((own, port), timeout=10)


def test_a_signal_ends_the_server(servers, urls):
  for name, number in (
    ("tiny-dit", signal.SIGTERM),
    ("get-digits", signal.SIGINT),
  ):
    code, messages = servers[name].stop(number)
    assert code == 75, messages
    assert messages.splitlines()[-1] == (
      f"Stopped: the page on {urls[name]} is closed; run the same command "
      "again to resume"
    )
    assert "Traceback" not in messages

"""results/index.html: what it shows, and that it needs nothing else."""

import base64
import html.parser
import io
import json

import numpy as np
import pytest
from PIL import Image

from get_jax.jobs.report_page import PAGE, write_page
from get_jax.training.workdir import open_workdir
from tests.helpers import tiny_job

HOSTILE = "<script>alert('x')</script>"
SCORES = {
  "fid[digits-v1]": 0.6144448899508461,
  "inception_score[digits-v1]": 9.535498195004319,
  "inception_score_std[digits-v1]": 0.125,
  "kid[digits-v1]": 1.25e-05,
}
PROTOCOL = {
  "samples": 5000,
  "seed": 1,
  "weights": "ema, digest fd359920c566d848",
  "sampler": "one call",
  "steps": 6,
  "evaluations": 1,
  "guidance": "none",
  "extractor": "digits-v1",
  "reference": HOSTILE,
  "reference_sha256": "b01e9b2f0bcef5ad",
  "conventions": {"inception_score": "adm"},
}


class Parser(html.parser.HTMLParser):
  """Collects elements, table rows and the text outside of styles."""

  def __init__(self, text):
    super().__init__()
    self.elements, self.rows, self.texts, self._open = [], [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    self._open.append(tag)
    if tag == "tr":
      self.rows.append([])
    if tag in ("th", "td"):
      self.rows[-1].append([dict(attrs).get("title"), ""])

  def handle_endtag(self, tag):
    while self._open and self._open.pop() != tag:
      pass

  def handle_data(self, data):
    if "style" in self._open:
      return
    self.texts.append(data)
    if {"th", "td"} & set(self._open):
      self.rows[-1][-1][1] += data

  def row(self, name):
    """Returns the (exact value, text) pairs of the first row of that name."""
    return next(row[1:] for row in self.rows if row[0][1] == name)


def result(scores, seconds):
  return {
    "scores": scores,
    "protocol": PROTOCOL,
    "seconds_per_1000_images": seconds,
  }


def picture(path, value, size=8):
  path.parent.mkdir(exist_ok=True)
  Image.new("L", (size, size), value).save(path)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A finished digits job, with a hostile value in every kind of file."""
  folder = tmp_path_factory.mktemp("pages") / "a<b>run"
  config = tiny_job()
  with config.unlocked():
    config.teacher.data.path = HOSTILE
  open_workdir(folder, config)
  (folder / "teacher").mkdir()
  lines = [
    {"step": 4, "loss": 2.0, HOSTILE: 1.0, "images_per_second": 8.0},
    {"step": 8, "loss": 1.0, HOSTILE: 1.5, "images_per_second": 16.0},
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  for part in (folder, folder / "teacher"):
    (part / "metrics.jsonl").write_text(text)
  other = {**SCORES, "fid[digits-v1]": 0.3140058755953987}
  report = {
    "GET": result(SCORES, 0.2080480439),
    "teacher": result(other, 4.3939982),
    "iterations": {"1": result(other, 0.1), "6": result(SCORES, 0.2)},
  }
  train = {
    "dtype": "bfloat16",
    "devices": "8 x TPU v5 lite",
    "parameters": 30704,
    "versions": {"jax": "0.12.0"},
  }
  results = folder / "results"
  results.mkdir()
  (results / "report.json").write_text(json.dumps(report))
  (results / "train.json").write_text(json.dumps(train))
  (results / "sample.json").write_text(json.dumps({"count": 16}))
  (results / "damaged.json").write_text("{")
  for i, name in enumerate(
    ("comparison", "get", "loss", "00000004", "00000008")
  ):
    picture(folder / "samples" / f"{name}.png", 50 * i)
  (folder / "samples" / "damaged.png").write_bytes(b"\x89PNG")
  noise = np.random.default_rng(0).integers(0, 256, (1700, 900, 3), np.uint8)
  Image.fromarray(noise).save(folder / "samples" / "large.png")
  write_page(folder)
  return folder


@pytest.fixture(scope="module")
def page(workdir):
  return Parser((workdir / PAGE).read_text("utf-8"))


def test_nothing_is_loaded_from_elsewhere(page):
  for tag, attributes in page.elements:
    assert tag not in ("script", "link", "iframe", "object", "embed") or (
      attributes.get("href") == "data:,"
    )
    for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
      assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    assert not any(name.startswith("on") for name in attributes)
  text = "".join(page.texts)
  assert "url(" not in text.replace("url(#", "")


def test_values_are_text(page):
  text = "".join(page.texts)
  assert page.row("teacher.data.path")[0][1] == HOSTILE
  assert f"reference {HOSTILE}" in text
  assert "GET: a<b>run" in text
  assert sum(HOSTILE == text for text in page.texts) >= 2  # names of charts


def test_scores_are_those_of_the_results(page, workdir):
  report = json.loads((workdir / "results" / "report.json").read_text())
  for name, text in (
    ("fid[digits-v1]", ["0.6144", "0.3140"]),
    ("kid[digits-v1]", ["1.250e-05", "1.250e-05"]),
  ):
    cells = page.row(name)
    exact = [report[who]["scores"][name] for who in ("GET", "teacher")]
    assert [json.loads(value) for value, _ in cells] == exact
    assert [shown for _, shown in cells] == text
  assert page.row("inception_score[digits-v1]")[0] == [
    "9.535498195004319 ± 0.125",
    "9.535 ± 0.12",
  ]
  assert [cell[1] for cell in page.row("6")] == [
    "0.6144",
    "9.535 ± 0.12",
    "1.250e-05",
  ]
  assert [cell[1] for cell in page.row("seconds per 1,000 images")] == [
    "0.2080",
    "4.394",
  ]


def test_protocol_config_and_environment(page):
  text = "".join(page.texts)
  assert "GET: samples 5000, seed 1, weights ema, digest fd359920c566d848" in (
    text
  )
  assert page.row("GET.conventions.inception_score")[0][1] == "adm"
  assert page.row("teacher.reference_sha256")[0][1] == "b01e9b2f0bcef5ad"
  assert page.row("devices")[0][1] == "8 x TPU v5 lite"
  assert page.row("versions.jax")[0][1] == "0.12.0"
  assert page.row("parameters")[0][1] == "30704"
  assert page.row("optimizer.learning_rate")[0][1] == "0.001"
  # 4 steps of 16 images at 8 a second, and 4 at 16.
  assert "12 s" in page.texts


def test_pictures(page, workdir):
  images = {
    attributes["alt"]: attributes["src"]
    for tag, attributes in page.elements
    if tag == "img"
  }
  names = ["comparison", "large", "00000008"]
  assert list(images) == [f"a<b>run/samples/{name}.png" for name in names]
  content = [base64.b64decode(uri.partition(",")[2]) for uri in images.values()]
  assert content[0] == (workdir / "samples" / "comparison.png").read_bytes()
  with Image.open(io.BytesIO(content[1])) as large:
    assert large.size == (847, 1600)


def test_curves_of_student_and_teacher(page):
  labels = [a["aria-label"] for tag, a in page.elements if tag == "svg"]
  charts = ["loss", HOSTILE, "images_per_second"]
  assert labels == 2 * [f"{name} against step" for name in charts]


def test_a_run_without_results_has_a_page(tmp_path):
  open_workdir(tmp_path, tiny_job())
  write_page(tmp_path)
  page = Parser((tmp_path / PAGE).read_text("utf-8"))
  assert page.row("num_steps")[0][1] == "8"
  assert not any(tag in ("img", "svg") for tag, _ in page.elements)

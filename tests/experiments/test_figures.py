"""The papers' figures: each is drawn, and bad input is a sentence."""

import importlib
import json
import pathlib
import re

import jax
import numpy as np
import pytest
from PIL import Image

from configs import diffit_cifar10, dit_digits, get_digits, uvit_s2_cifar10
from get_jax.builders.model import build_init, build_model
from get_jax.models import create_model
from get_jax.storage.json_files import write_json
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.workdir import config_to_dict
from tests.helpers import tiny_config

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
PROTOCOL = {"samples": 64, "extractor": "digits-v1", "seed": 0}


@pytest.fixture(scope="module")
def figures():
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(EXPERIMENTS))
    yield importlib.import_module("figures")


def scored(folder, config, fid=9.0, over=None, points=()):
  """Writes a workdir with scores, without a network."""
  write_json(folder / "config.json", config_to_dict(config))
  content = {"scores": {"fid[digits-v1]": fid}, "protocol": PROTOCOL}
  write_json(folder / "results" / "evaluate.json", content)
  if over:
    points = [[value, {"fid[digits-v1]": fid}] for value, fid in points]
    content = {"over": over, "points": points, "protocol": PROTOCOL}
    write_json(folder / "results" / "curve.json", content)
  return str(folder)


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
  """Runs by name; "tiny" has a network too."""
  root = tmp_path_factory.mktemp("runs")
  uvit = uvit_s2_cifar10.get_config()
  uvit.model.name = "U-ViT"
  uvit.model.update(hidden_size=16, num_heads=2, depth=2, patch_size=8)
  diffit = diffit_cifar10.get_config()
  tiny = tiny_config()
  with Checkpoints(root / "tiny" / "checkpoints") as checkpoints:
    params = jax.jit(build_init(build_model(tiny)))(jax.random.key(0))
    checkpoints.save_params(jax.tree.map(np.asarray, params))
  return {
    "get": scored(
      root / "get",
      get_digits.get_config(),
      over="sampling.iterations",
      points=[(1, 30.0), (6, 9.0)],
    ),
    "dit": scored(
      root / "dit",
      dit_digits.get_config(),
      over="guidance.scale",
      points=[(1.0, 30.0), (2.0, 9.0)],
    ),
    "uvit": scored(
      root / "uvit", uvit, over="step", points=[(200, 9.0), (100, 30.0)]
    ),
    "diffit": scored(root / "diffit", diffit),
    "tiny": scored(root / "tiny", tiny),
  }


# Figures by name, with the run to draw.
CASES = {
  "get-2a": "uvit",
  "get-2b": "get",
  "get-3a": "get",
  "get-3b": "uvit",
  "get-4": "tiny",
  "dit-gflops": "dit",
  "dit-compute": "uvit",
  "dit-decoders": "dit",
  "dit-guidance": "dit",
  "uvit-1": "uvit",
  "uvit-2": None,
  "uvit-3": "uvit",
  "diffit-2": "tiny",
  "diffit-7a": "dit",
  "diffit-7b": "uvit",
  "diffit-8": "diffit",
  "attention": "tiny",
}
WITHOUT_TABLE = {
  "get-4",
  "uvit-1",
  "uvit-2",
  "diffit-2",
  "diffit-7b",
  "attention",
}


def test_every_figure_is_tested(figures):
  assert set(CASES) == set(figures.FIGURES)


@pytest.mark.parametrize("name", [n for n, run in CASES.items() if run])
def test_a_figure_with_a_run(name, figures, workdirs, tmp_path, capsys):
  out = tmp_path / "figure.png"
  run = f"our run={workdirs[CASES[name]]}"
  figures.main([name, "--run", run, f"--out={out}"])
  assert f"figure saved to {out}" in capsys.readouterr().out
  with Image.open(out) as picture:
    assert picture.format == "PNG" and min(picture.size) > 300
    assert len(picture.convert("L").getcolors(256)) > 20


def test_published_points_alone(figures):
  """The points are those of the papers' tables."""

  def points(name):
    (axes, *_) = figures.FIGURES[name].draw([]).figure.axes
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}

  assert set(CASES) - WITHOUT_TABLE == {
    name for name in CASES if name not in WITHOUT_TABLE and points(name) != []
  }
  gflops = points("dit-gflops")
  assert gflops["DiT-XL"][-1] == [118.64, 19.47]
  assert sum(map(len, gflops.values())) == 12
  compute = points("dit-compute")["DiT-XL/2"]
  np.testing.assert_allclose(compute[1], [3 * 118.64 * 256 * 2_352_000, 10.67])
  assert points("dit-guidance")["DiT-XL/2, 256x256"][1] == [1.25, 3.22]
  assert points("uvit-3")["U-Net"] == [[500, 10.69]]
  assert points("diffit-7a")["DiffiT, ImageNet 256x256"] == [[4.6, 1.73]]
  assert points("get-2a")["GET-Tiny"] == [[102.4, 15.19], [409.6, 11.47]]
  # The text's "2^31 training GFLOPs" is the whole training of GET-Tiny.
  assert np.log2(points("get-3b")["GET-Tiny"][0][0]) == pytest.approx(
    31, abs=0.05
  )
  np.testing.assert_allclose(
    points("get-3a")["ViT"], [[23.0, 11.49]], rtol=0.005
  )


def test_windows_follow_from_the_percentages(figures):
  rows = importlib.import_module("quality").load_tables("diffit")["window"].rows
  fid = {name: values[0] for name, values in rows.items()}
  cifar, ffhq = (
    [fid[f"{data}, window {size}"] for size in (2, 4, 8)]
    for data in ("CIFAR-10", "FFHQ 64x64")
  )
  for (two, four, eight), percents in (
    (cifar, (23.23, 1.53)),
    (ffhq, (12.17, 3.60)),
  ):
    assert 100 * (1 - four / two) == pytest.approx(percents[0], abs=0.3)
    assert 100 * (1 - eight / four) == pytest.approx(percents[1], abs=0.3)


def test_points_of_runs(figures, workdirs):
  def ours(name, run):
    drawing = figures.FIGURES[name].draw([f"our run={workdirs[run]}"])
    (axes, *_) = drawing.figure.axes
    (line,) = (x for x in axes.lines if x.get_label() == "ours: our run")
    return line.get_xydata(), drawing.notes

  points, notes = ours("get-2b", "get")
  np.testing.assert_allclose(points, [[1.013584, 9.0]])
  assert notes[-1] == (
    "Ours, our run: samples 64, extractor digits-v1, seed 0. Not comparable: "
    "the papers' features are Inception's."
  )
  points, _ = ours("get-3a", "get")
  assert points[:, 1].tolist() == [30, 9]
  assert 0 < points[0, 0] < points[1, 0] < 0.02
  points, _ = ours("dit-guidance", "dit")
  assert points.tolist() == [[1, 30], [2, 9]]
  points, _ = ours("uvit-3", "uvit")
  assert points.tolist() == [[0.1, 30], [0.2, 9]]
  (early, late), _ = ours("dit-compute", "uvit")
  assert late[0] == pytest.approx(2 * early[0])


def test_similarity_of_blocks(figures, monkeypatch, workdirs):
  uvit = importlib.import_module("paper_figures.uvit")
  monkeypatch.setattr(uvit, "cka_of_run", lambda *args, **options: np.eye(3))
  drawing = figures.FIGURES["uvit-2"].draw([f"{s}=x" for s in ("add", "none")])
  assert [axes.get_title() for axes in drawing.figure.axes[:2]] == [
    "add",
    "none",
  ]
  np.testing.assert_array_equal(
    drawing.figure.axes[0].images[0].get_array(), np.eye(3)
  )


def test_attention_of_the_centre(figures):
  """Extra tokens are left out, and windows have their place."""
  attention = importlib.import_module("paper_figures.attention")
  weights = np.zeros((1, 2, 6, 6), np.float32)
  # The patch in row 1, column 1 of a 2x2 grid attends to row 0, column 1.
  weights[0, :, 5, 3] = 1
  model = create_model("U-ViT", image_size=4, num_classes=3)
  found = attention.centre_map(model, weights, "layer")
  np.testing.assert_array_equal(found, [[0, 1], [0, 0]])
  weights = np.zeros((1, 2, 6, 6), np.float32)
  weights[0, :, 3, 1] = 1
  model = create_model("DiT", image_size=32, block="in-context")
  found = attention.centre_map(model, weights, "layer")
  np.testing.assert_array_equal(found, [[0, 1], [0, 0]])
  # Four windows of 2x2; the token is the first of the last window.
  weights = np.zeros((4, 2, 4, 4), np.float32)
  weights[3, :, 0] = [0.1, 0.2, 0.3, 0.4]
  model = create_model("DiffiT-image", image_size=4, window=2)
  found = attention.centre_map(model, weights, "layer")
  np.testing.assert_allclose(found[2:, 2:], [[0.1, 0.2], [0.3, 0.4]])
  assert found.sum() == pytest.approx(1)
  with pytest.raises(ValueError, match="from 4 tokens to 2 others; expected"):
    attention.centre_map(model, np.zeros((1, 2, 4, 2)), "layer")


def test_bad_input(figures, workdirs, tmp_path, capsys):
  empty = tmp_path / "empty"
  write_json(empty / "config.json", config_to_dict(tiny_config()))
  no_fid = tmp_path / "no_fid"
  write_json(no_fid / "config.json", config_to_dict(tiny_config()))
  scores = {"scores": {"inception_score[x]": 1.0}, "protocol": PROTOCOL}
  write_json(no_fid / "results" / "evaluate.json", scores)
  out = f"--out={tmp_path / 'x.png'}"
  for arguments, sentence in (
    (["dit-gflop", out], "'dit-gflop' does not exist; did you mean 'dit-g"),
    (["nonsense", out], "does not exist; expected one of: get-2a, "),
    (["dit-gflops", "--run=x", out], "--run is 'x'; expected ROW=WORKDIR"),
    (["dit-gflops", "--run=x=/nowhere", out], "/nowhere has no config.json"),
    (["dit-gflops", f"--run=x={empty}", out], "run --mode=evaluate or --mode"),
    (["dit-gflops", f"--run=x={no_fid}", out], "has no FID but inception_scor"),
    (["diffit-8", f"--run=x={workdirs['dit']}", out], "no field 'window'; exp"),
    (["attention", "--run=x=dit-digit", out], "did you mean 'dit-digits' or"),
    (["get-4", "--run=x=/nowhere", out], "neither the workdir of a run nor"),
    (["dit-gflops", "--out=/dev/null/x.png"], "expected a PNG file in a writ"),
    (["dit-gflops"], "required: --out"),
    *(([name, out], "expected --run ROW=WORKDIR") for name in WITHOUT_TABLE),
  ):
    with pytest.raises(SystemExit) as stopped:
      figures.main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error, arguments
    assert "Traceback" not in error
  assert not (tmp_path / "x.png").exists()


def test_help_lists_the_figures(figures, capsys):
  with pytest.raises(SystemExit) as stopped:
    figures.main(["--help"])
  assert stopped.value.code == 0
  text = capsys.readouterr().out
  for name, figure in figures.FIGURES.items():
    assert re.search(rf"^  {name} +{re.escape(figure.title)}$", text, re.M)


def test_a_broken_result(figures, tmp_path, capsys):
  scored(tmp_path, dit_digits.get_config())
  path = tmp_path / "results" / "evaluate.json"
  path.write_text(json.dumps({"scores": 3}))
  with pytest.raises(SystemExit) as stopped:
    figures.main(["dit-gflops", f"--run=x={tmp_path}", "--out=x.png"])
  assert stopped.value.code == 2
  assert "expected scores and protocol" in capsys.readouterr().err

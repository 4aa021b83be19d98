"""Writes results/index.html: one page on a run, to send to a colleague.

The page is made from the files of the workdir alone, so that it can be written
again at any time. It is self-contained: curves are inline SVG, pictures are
data URIs, and nothing is loaded from elsewhere.
"""

import base64
import dataclasses
import datetime
import io
import logging
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from markupsafe import Markup
from PIL import Image

import get_jax
from get_jax.errors import UsageError, reason
from get_jax.jobs.data_info import describe
from get_jax.jobs.durations import format_seconds
from get_jax.jobs.report_charts import line_chart
from get_jax.jobs.report_tables import (
  Table,
  comparison_tables,
  curve_table,
  evaluation_table,
  score_names,
  settings_table,
)
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import Path, as_path, write_text
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import PERFORMANCE_KEYS

PAGE = "results/index.html"
# Results with scores, of which the settings list the protocol only.
_WITH_SCORES = ("report", "evaluate", "curve")
_PREVIEW = re.compile(r"\d{8}\.png")
# The page has their curves, or comparison.png has their images.
_LEFT_OUT = ("loss.png",)
_IN_COMPARISON = ("get.png", "teacher.png", "real.png")
log = logging.getLogger(__name__)
_MAX_BYTES, _MAX_SIDE = 1_000_000, 1600  # of a picture, in bytes and pixels


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture of the page: its name and its content as a data URI."""

  name: str
  uri: str


@dataclasses.dataclass(frozen=True)
class Curves:
  """The charts of one training: a title and SVG elements."""

  title: str
  charts: Sequence[Markup]


@dataclasses.dataclass(frozen=True)
class Page:
  """Content of the page; see report_page.html."""

  title: str
  subtitle: str
  facts: Sequence[tuple[str, str]]
  scores: Sequence[Table]
  pictures: Sequence[Picture]
  curves: Sequence[Curves]
  settings: Sequence[Table]
  footer: str


def write_page(workdir: Path) -> None:
  """Writes <workdir>/results/index.html, on process 0 only.

  Args:
    workdir: folder of the run, with config.json.
  """
  if jax.process_index():
    return
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("get_jax.jobs", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  template = environment.get_template("report_page.html")
  content = template.render(page=_collect(as_path(workdir)))
  write_text(as_path(workdir) / PAGE, content)


def _collect(workdir: Path) -> Page:
  """Reads the content of the page from the files of a run."""
  config = read_json_object(workdir / "config.json", "a config")
  results = _read_results(workdir)
  records = read_metrics(workdir)
  trainings = [("Training", workdir, records)]
  if (workdir / "teacher").is_dir():
    teacher = workdir / "teacher"
    trainings.append(
      ("Training of the teacher", teacher, read_metrics(teacher))
    )
  now = datetime.datetime.now(datetime.UTC)
  try:
    title = f"{config['model']['name']}: {workdir.name}"
    subtitle, facts = _subtitle(config), _facts(config, results, records)
  except (LookupError, ValueError, TypeError, AttributeError) as error:
    raise UsageError(
      f"{workdir / 'config.json'} is not the config of a run ({reason(error)})"
    ) from error
  return Page(
    title=title,
    subtitle=subtitle,
    facts=facts,
    scores=_scores(results),
    pictures=[
      picture for _, folder, _ in trainings for picture in _pictures(folder)
    ],
    curves=[
      Curves(title, _charts(lines)) for title, _, lines in trainings if lines
    ],
    settings=_settings(config, results, trainings),
    footer=(
      f"Written on {now:%Y-%m-%d at %H:%M} UTC by get_jax "
      f"{get_jax.__version__}. Pointing at a score shows all its digits."
    ),
  )


def _subtitle(config: Mapping[str, Any]) -> str:
  if config["task"] == "distillation":
    teacher = config.get("teacher", {}).get("model", {}).get("name")
    return f"distilled from {teacher}" if teacher else "distilled from pairs"
  return f"{config['process'].get('name', '')} diffusion"


def _facts(
  config: Mapping[str, Any],
  results: Mapping[str, Any],
  records: Sequence[Mapping[str, float]],
) -> list[tuple[str, str]]:
  """Returns names and values of the figures at the top of the page."""
  facts = []
  if records:
    facts.append(
      (f"of {config['num_steps']:,} steps", f"{records[-1]['step']:,}")
    )
    facts.append(("batch size", f"{config['batch_size']:,}"))
    facts.append(
      ("time in training steps", format_seconds(_seconds(config, records)))
    )
  train = results.get("train", {})
  if "parameters" in train:
    facts.append(("parameters", f"{train['parameters']:,}"))
  if "devices" in train:
    facts.append(("devices", train["devices"]))
  scored = results.get("report", {}).get("GET") or results.get("evaluate")
  scores = (scored or {}).get("scores", {})
  facts += [(name, f"{scores[name]:#.4g}") for name in score_names(scores)]
  return facts


def _seconds(
  config: Mapping[str, Any], records: Sequence[Mapping[str, float]]
) -> float:
  """Returns the seconds that the steps of a run took, without compilation."""
  steps = [0, *(record["step"] for record in records)]
  return sum(
    (last - first) * config["batch_size"] / record["images_per_second"]
    for first, last, record in zip(steps, steps[1:], records, strict=False)
    if 0 < record.get("images_per_second", 0) < math.inf
  )


def _scores(results: Mapping[str, Any]) -> list[Table]:
  tables = []
  if "report" in results:
    tables += comparison_tables(results["report"])
  if "evaluate" in results:
    tables.append(evaluation_table(results["evaluate"]))
  if "curve" in results:
    tables.append(curve_table(results["curve"]))
  return tables


def _pictures(workdir: Path) -> list[Picture]:
  """Returns the pictures in <workdir>/samples; of the previews, the newest."""
  paths = {path.name: path for path in (workdir / "samples").glob("*.png")}
  previews = sorted(name for name in paths if _PREVIEW.fullmatch(name))
  left_out = {*_LEFT_OUT, *previews[:-1]}
  if "comparison.png" in paths:
    left_out.update(_IN_COMPARISON)
  pictures = []
  shown = paths.keys() - left_out
  for name in sorted(shown, key=lambda name: (name in previews, name)):
    content = _encode(paths[name])
    if content is not None:
      title = f"{workdir.name}/samples/{name}"
      pictures.append(Picture(title, content))
  return pictures


def _encode(path: Path) -> str | None:
  """Returns a picture as a data URI; None if it cannot be read.

  Large pictures are reduced.
  """
  content, kind = path.read_bytes(), "png"
  try:
    with warnings.catch_warnings():
      # The grids of our own samples may be large.
      warnings.simplefilter("ignore", Image.DecompressionBombWarning)
      image = Image.open(io.BytesIO(content))
    with image:
      image.load()
      if len(content) > _MAX_BYTES:
        reduced = image.convert("RGB")
        reduced.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
        file, kind = io.BytesIO(), "jpeg"
        reduced.save(file, "JPEG", quality=90)
        content = file.getvalue()
  except (OSError, Image.DecompressionBombError):
    return None
  return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _charts(records: Sequence[Mapping[str, float]]) -> list[Markup]:
  """Plots the metrics of a run, losses first, and its throughput."""
  names = dict.fromkeys(name for record in records for name in record)
  losses = [n for n in names if n not in ("step", *PERFORMANCE_KEYS)]
  losses.sort(key=lambda name: name != "loss")
  shown = [*losses, *(n for n in ("images_per_second",) if n in names)]
  charts = []
  for name in shown:
    points = [(r["step"], r[name]) for r in records if name in r]
    steps, values = zip(*points, strict=True)
    # The chart escapes its texts.
    charts.append(Markup(line_chart(steps, values, "step", name)))
  return charts


def _settings(
  config: Mapping[str, Any],
  results: Mapping[str, Any],
  trainings: Sequence[tuple[str, Path, Any]],
) -> list[Table]:
  """Returns the tables of environment, protocols, other results and config."""
  tables = []
  for title, folder, _ in trainings:
    if environment := _read_results(folder, "train.json").get("train"):
      tables.append(settings_table(f"Environment: {title}", environment))
  for name, content in results.items():
    if name in _WITH_SCORES:
      protocols = {
        key: value["protocol"]
        for key, value in content.items()
        if isinstance(value, Mapping) and "protocol" in value
      } or content["protocol"]
      tables.append(settings_table(f"Protocol of {name}.json", protocols))
    elif name == "data":
      tables.append(settings_table("Data", {"images": describe(content)}))
    elif name != "train":
      tables.append(settings_table(f"{name}.json", content))
  tables.append(settings_table("Config", config))
  return tables


def _read_results(workdir: Path, pattern: str = "*.json") -> dict[str, Any]:
  """Returns the results of a run that the page can show, by name.

  A warning names each file that is damaged.
  """
  results = {}
  for path in sorted((workdir / "results").glob(pattern)):
    try:
      content = read_json_object(path, "results")
      # What the page shows of it.
      found = {path.stem: content}
      _facts({}, found, [])
      _scores(found)
      _settings({}, found, [])
    except UsageError as error:
      log.warning("%s; the page is written without it", error)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
      log.warning(
        "%s is damaged (%s); the page is written without it",
        path,
        reason(error),
      )
    else:
      results[path.stem] = content
  return results

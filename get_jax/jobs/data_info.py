"""Prints and stores what the data of a run consist of."""

from collections.abc import Mapping
from typing import Any

from get_jax.data import Source
from get_jax.data.content import describe_content, differences
from get_jax.errors import UsageError, printable, shorten
from get_jax.storage.json_files import read_json_object, write_json
from get_jax.storage.paths import Path, StrPath, as_path
from get_jax.training.processes import run_on_main
from get_jax.training.workdir import DATA_FILE

SHOWN = 10  # classes in the printed line


def check_data(source: Source, workdir: StrPath) -> None:
  """Checks that a run goes on with the data that it started with.

  Their description is stored in data.json when the run starts; they may be
  moved later. Process 0 does both.

  Args:
    source: the data.
    workdir: folder of the run.

  Raises:
    UsageError: the data are others.
  """
  run_on_main(lambda: _check(source, as_path(workdir) / DATA_FILE))


def _check(source: Source, path: Path) -> None:
  now = describe_content(source)
  try:
    before = read_json_object(path, "a description of the run's data")
  except FileNotFoundError:  # a new run, or one of an older version
    write_json(path, now)
    return
  if changed := differences(before, now):
    shown = ", ".join(
      f"{printable(name)} ({_short(old)} there, {_short(new)} now)"
      for name, (old, new) in changed.items()
    )
    raise UsageError(
      f"the data are not those that the run of {path} started with; they "
      f"differ in {shown}"
    )


def _short(value: Any) -> str:
  return printable(value[:12]) if isinstance(value, str) else shorten(value)


def report_data(
  source: Source, workdir: Path, name: str, resumed: bool = False
) -> None:
  """Prints what was read and left out, and writes it to results/data.json.

  Process 0 does both. Sources without image files are not reported.

  Args:
    source: the data.
    workdir: folder of the run.
    name: prefix of the line, such as "train".
    resumed: whether the run has trained on the data before.

  Raises:
    UsageError: other images are broken than when the run started, so that the
      order of the images would change.
  """
  summary = getattr(source, "summary", None)
  if summary is not None:
    run_on_main(lambda: _report(summary(), workdir, name, resumed))


def _report(
  info: dict[str, Any], workdir: Path, name: str, resumed: bool
) -> None:
  path = workdir / "results" / "data.json"
  if resumed and path.exists():
    before = read_json_object(path, "what the run's data consist of")
    broken = before.get("broken")
    if not isinstance(broken, dict):
      raise UsageError(
        f"{path} has no list of broken images; expected those of the data with "
        "which the run started"
      )
    same_location = before.get("location") == info["location"]
    if same_location and broken.keys() != info["broken"].keys():
      raise UsageError(
        f"{len(info['broken'])} images of {info['location']} are broken; "
        f"expected the {len(broken)} listed in {path}, with which the run "
        "started"
      )
  print(f"{name}: {describe(info)}")
  write_json(path, info)


def describe(info: Mapping[str, Any]) -> str:
  """Returns a summary of a source of image files as one line.

  Args:
    info: what `ImageSource.summary` returns.
  """
  text = f"{info['images']} images"
  classes = info["classes"]
  if classes:
    shown = [f"{name} {count}" for name, count in classes.items()]
    more = ["..."] * (len(shown) > SHOWN)
    text += f" of {len(classes)} classes ({', '.join(shown[:SHOWN] + more)})"
    if len(shown) > SHOWN:
      counts = classes.values()
      text += f" with {min(counts)} to {max(counts)} images"
  text += f" in {info['location']}"
  if info["skipped"]:
    skipped = [f"{count} {kind}" for kind, count in info["skipped"].items()]
    text += f"; other files: {', '.join(skipped)}"
  if info["broken"]:
    names = list(info["broken"])
    shown_names = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    text += f"; left out {len(names)} broken: {shown_names}"
  return text

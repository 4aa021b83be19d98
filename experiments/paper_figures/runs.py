"""Our runs: scores, curves and costs of a workdir."""

import dataclasses
import functools
from typing import Any

from ml_collections import ConfigDict

from get_jax.builders.model import build_model
from get_jax.errors import UsageError
from get_jax.models.base import ImageModel
from get_jax.models.counting import ModelSize, model_size
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import Path, as_path
from get_jax.training.workdir import read_config


@dataclasses.dataclass(frozen=True)
class Run:
  """A workdir with scores.

  Attributes:
    label: Name of the run in the figure.
    workdir: Folder of the run.
    config: Its experiment.
  """

  label: str
  workdir: Path
  config: ConfigDict

  @functools.cached_property
  def model(self) -> ImageModel:
    """The network, without parameters."""
    return build_model(self.config)

  def field(self, name: str, family: str) -> Any:
    """Returns a field of the network.

    Args:
      name: Name of the field.
      family: Networks that have it, for the message.

    Raises:
      UsageError: The network has no such field.
    """
    if not hasattr(self.model, name):
      raise UsageError(
        f"{self.workdir} has the model {self.config.model.name}, which has no "
        f"field {name!r}; expected {family}"
      )
    return getattr(self.model, name)

  @functools.cached_property
  def size(self) -> ModelSize:
    """Parameters and multiply-adds of one network evaluation."""
    return self.size_at(self.config.sampling.get("iterations", 1))

  def size_at(self, iterations: int) -> ModelSize:
    """The same for a number of iterations of an equilibrium layer."""
    options = {"iterations": iterations} if self.has_equilibrium else {}
    return model_size(self.model, **options)

  @property
  def has_equilibrium(self) -> bool:
    """Whether the network has an equilibrium layer."""
    return hasattr(self.model, "state_shape")

  @property
  def parameters(self) -> int:
    """Parameters with the position table, as the GET paper counts them."""
    return self.size.params + self.size.position_table

  def fid(self) -> float:
    """Returns the FID of `results/evaluate.json`."""
    return _fid(self._results("evaluate")["scores"], self._path("evaluate"))

  def curve(self, over: str) -> list[tuple[float, float]]:
    """Returns (value, FID) along a setting.

    Without a curve over this setting there is one point: the setting of the
    config, with the FID of `results/evaluate.json`.

    Args:
      over: "step", or a key of the config.
    """
    if self._path("curve").is_file():
      content = self._results("curve")
      if content.get("over") == over:
        path = self._path("curve")
        return sorted((value, _fid(s, path)) for value, s in content["points"])
    if over == "step":
      return [(self.config.num_steps, self.fid())]
    section, key = over.split(".")
    return [(self.config[section][key], self.fid())]

  def training_gmacs(self, step: float) -> float:
    """Returns the training compute up to a step, as the DiT paper estimates it.

    These are multiply-adds of one forward pass, times batch size, steps and 3.
    """
    return 3 * self.size.macs / 1e9 * self.config.batch_size * step

  def evaluations(self) -> int:
    """Returns the evaluations of the network for one image."""
    protocol = self._results("evaluate")["protocol"]
    is_guided = protocol.get("guidance", "none") != "none"
    return (protocol.get("evaluations") or 1) * (1 + is_guided)

  def note(self) -> str:
    """Describes how the scores were measured."""
    mode = "evaluate" if self._path("evaluate").is_file() else "curve"
    protocol = self._results(mode)["protocol"]
    keys = (
      "samples",
      "extractor",
      "sampler",
      "evaluations",
      "guidance",
      "seed",
    )
    known = [f"{key} {protocol[key]}" for key in keys if key in protocol]
    text = f"Ours, {self.label}: {', '.join(known)}."
    if not str(protocol.get("extractor")).startswith("inception"):
      text += " Not comparable: the papers' features are Inception's."
    return text

  def _path(self, mode: str) -> Path:
    return self.workdir / "results" / f"{mode}.json"

  def _results(self, mode: str) -> dict[str, Any]:
    path = self._path(mode)
    if not path.is_file():
      raise UsageError(
        f"{path} does not exist; run --mode=evaluate or --mode=curve in "
        f"{self.workdir} first"
      )
    content = read_json_object(path, "scores")
    kinds = {"scores": dict, "points": list, "protocol": dict}
    expected = ("scores" if mode == "evaluate" else "points"), "protocol"
    for key in expected:
      if not isinstance(content.get(key), kinds[key]):
        raise UsageError(
          f"{path} has no {key!r} of --mode={mode}; expected scores and "
          "protocol"
        )
    return content


def parse(argument: str) -> tuple[str, str]:
  """Splits a value ROW=WORKDIR of --run.

  Raises:
    UsageError: It has not this form.
  """
  label, _, workdir = argument.rpartition("=")
  if not label or not workdir:
    raise UsageError(f"--run is {argument!r}; expected ROW=WORKDIR")
  return label, workdir


def load(argument: str) -> Run:
  """Loads a run from a value of --run.

  Raises:
    UsageError: The value has another form, or the workdir has no run.
  """
  label, workdir = parse(argument)
  return Run(label, as_path(workdir), read_config(workdir))


def _fid(scores: dict[str, float], path: Path) -> float:
  for name, value in scores.items():
    if name.partition("[")[0] == "fid":
      return value
  raise UsageError(
    f"{path} has no FID but {', '.join(scores) or 'no scores'}; expected fid"
  )

"""Experiments that are shipped: where their configs are, and their headers.

Reads the files without importing them, so it needs no JAX.
"""

import ast
import dataclasses
import pathlib

_PACKAGE = pathlib.Path(__file__).parents[1]
_NOT_EXPERIMENTS = ("common",)


def configs_folder() -> pathlib.Path:
  """Returns the folder of the shipped configs.

  An installed package contains it; a checkout has it next to the package.
  """
  installed = _PACKAGE / "configs"
  return installed if installed.is_dir() else _PACKAGE.parent / "configs"


@dataclasses.dataclass(frozen=True)
class Experiment:
  """The header of a config.

  Attributes:
    path: the config's file.
    title: what the experiment is, on one line.
    published: the published numbers on one line; empty if there are none.
    recipe: module of `configs.recipes` that builds the config.
  """

  path: pathlib.Path
  title: str
  published: str
  recipe: str

  @property
  def name(self) -> str:
    """Name of the experiment, as in `--config=NAME`."""
    return self.path.stem


def experiment_names() -> list[str]:
  """Returns the names of the shipped experiments, sorted."""
  names = (path.stem for path in configs_folder().glob("*.py"))
  return sorted(name for name in names if name not in _NOT_EXPERIMENTS)


def read_experiment(path: pathlib.Path) -> Experiment:
  """Returns the header of a config.

  Raises:
    ValueError: the file has no docstring, or uses no recipe.
  """
  recipe = _recipe(path)
  title, *paragraphs = header(path)
  published = ""
  for paragraph in paragraphs:
    if paragraph.startswith("Published: "):
      published = _one_line(paragraph.removeprefix("Published: "))
      published = published.removesuffix(f" See configs/recipes/{recipe}.py.")
  return Experiment(path, _one_line(title).rstrip("."), published, recipe)


def header(path: pathlib.Path) -> list[str]:
  """Returns the paragraphs of a file's docstring, the title first.

  Raises:
    ValueError: the file has no docstring.
  """
  text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
  if text is None:
    raise ValueError(f"{path} has no docstring; expected the header")
  return text.split("\n\n")


def families() -> dict[str, list[Experiment]]:
  """Returns the shipped experiments by recipe, in the order of their names."""
  result: dict[str, list[Experiment]] = {}
  for name in experiment_names():
    experiment = read_experiment(configs_folder() / f"{name}.py")
    result.setdefault(experiment.recipe, []).append(experiment)
  return result


def recipe_header(recipe: str) -> list[str]:
  """Returns the paragraphs of a recipe's docstring, the title first."""
  return header(configs_folder() / "recipes" / f"{recipe}.py")


def listing() -> str:
  """Returns the output of `--list`: the experiments, by family."""
  width = max(map(len, experiment_names())) + 2
  lines = []
  for recipe, experiments in families().items():
    lines += ["", _one_line(recipe_header(recipe)[0])]
    lines += [f"  {e.name:{width}}{e.title}" for e in experiments]
  return "\n".join(lines[1:])


def _recipe(path: pathlib.Path) -> str:
  for node in ast.parse(path.read_text("utf-8")).body:
    if isinstance(node, ast.ImportFrom) and node.module == "configs.recipes":
      return node.names[0].name
  raise ValueError(f"{path} imports no recipe; expected one of configs/recipes")


def _one_line(text: str) -> str:
  return " ".join(text.split())

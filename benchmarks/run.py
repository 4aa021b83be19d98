"""Runs the benchmarks.

  python benchmarks/run.py all                    # everything, on a CPU
  python benchmarks/run.py networks inception     # some sections
  python benchmarks/run.py gpu                    # those for an accelerator

writes RESULTS.json after each measured case, and all tables to RESULTS.md. A
case that was measured at the same commit and size is kept, so a run that was
stopped continues where it was; --again repeats it. On an accelerator, networks
are those of the papers in bfloat16. On a CPU they are small; two cores are used
first, then one. If PyTorch is installed, the same networks in plain PyTorch are
timed too. All implementations run alternately in one process.
"""

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import os
import pathlib
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import goals
import jax
import tables
from timing import Cases, Scale, on_cpu, use_cores

from get_jax.hardware.host_memory import keep_freed_memory


@dataclasses.dataclass(frozen=True)
class Section:
  """A table of the results.

  Attributes:
    title: its title.
    module: the module that measures it.
    function: function of the module: a scale -> cases.
    group: "all" for a CPU, "gpu" for an accelerator, or both.
    cores: numbers of cores of a CPU with which it is measured.
  """

  title: str
  module: str
  function: str = "cases"
  group: tuple[str, ...] = ("all", "gpu")
  cores: tuple[int, ...] = (1,)


CPU_ONLY = ("all",)
SECTIONS = {
  "machine": Section("This machine", "machine", cores=(1, 2)),
  "networks": Section("Networks against PyTorch", "networks", cores=(1, 2)),
  "one_step": Section("GET by iterations", "one_step"),
  "gradients": Section("Gradients of equilibria", "gradients"),
  "samplers": Section("Samplers", "samplers", group=CPU_ONLY),
  "pairs": Section("Generation of pairs", "generation", "pairs_cases"),
  "autoencoder": Section("SD's autoencoder", "generation", "autoencoder_cases"),
  "inception": Section("Inception", "inception", cores=(1, 2)),
  "statistics": Section("Statistics of FID", "statistics_of_fid"),
  "pipeline": Section(
    "Input pipeline", "pipeline", group=CPU_ONLY, cores=(1, 2)
  ),
  "checkpoints": Section("Checkpoints", "checkpoints"),
  "startup": Section("Start-up", "startup", group=CPU_ONLY),
  "scaling": Section("Cost against size", "scaling", group=CPU_ONLY),
  "compile": Section("Compile times", "compile_times"),
}
NOTES = {
  name: f"See `benchmarks/{section.module}.py`."
  for name, section in SECTIONS.items()
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  """Parses the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "names", nargs="+", metavar="NAME", help=f"all, gpu, {', '.join(SECTIONS)}"
  )
  parser.add_argument("--size", choices=["paper", "small", "tiny"])
  parser.add_argument("--repeats", type=int, default=7)
  parser.add_argument("--cores", type=int, help="only this number of cores")
  parser.add_argument("--again", action="store_true", help="keep no case")
  parser.add_argument("--no-torch", action="store_true")
  parser.add_argument(
    "--no-compiled-torch", action="store_true", help="without torch.compile"
  )
  parser.add_argument("--results", type=pathlib.Path, help="without suffix")
  options = parser.parse_args(arguments)
  names: list[str] = []
  for name in options.names:
    group = [k for k, section in SECTIONS.items() if name in section.group]
    if not group and name not in SECTIONS:
      parser.error(
        f"unknown benchmark {name}; expected some of: all, gpu, "
        f"{', '.join(SECTIONS)}"
      )
    names += group or [name]
  options.names = list(dict.fromkeys(names))
  return options


def main(arguments: Sequence[str] | None = None) -> int:
  """Measures the selected sections and writes their tables.

  Args:
    arguments: command line arguments, by default those of the process.

  Returns:
    The exit status: 1 if a case failed.
  """
  arguments = sys.argv[1:] if arguments is None else arguments
  options = parse(arguments)
  if options.cores:
    return measure(options, options.cores, arguments)
  # Threads of libraries cannot be added later, so each number of cores has a
  # process of its own. That with most cores compiles PyTorch's code, which the
  # others find in its cache.
  counts = sorted(
    {count for name in options.names for count in SECTIONS[name].cores},
    reverse=True,
  )
  if not _may_be_cpu():
    return measure(options, None, arguments)
  status = 0
  for count in counts:
    command = [sys.executable, __file__, *arguments, f"--cores={count}"]
    status |= subprocess.run(command, check=False).returncode != 0
  return status


def measure(
  options: argparse.Namespace, cores: int | None, arguments: Sequence[str]
) -> int:
  """Measures the selected sections in this process.

  Args:
    options: see `parse`.
    cores: number of cores; None on an accelerator.
    arguments: the command line.

  Returns:
    The exit status: 1 if a case failed.
  """
  if cores:
    use_cores(cores)
    keep_freed_memory()
  torch = importlib.util.find_spec("torch") and not options.no_torch
  size = options.size or ("small" if on_cpu() else "paper")
  scale = Scale(
    size, options.repeats, bool(torch), not options.no_compiled_torch
  )
  card = "cpu" if on_cpu() else jax.devices()[0].device_kind
  path = options.results or pathlib.Path(
    tables.ROOT, "benchmarks/results", card.lower().replace(" ", "_")
  )
  command = shlex.join(["python", "benchmarks/run.py", *arguments])
  command = command.replace(f" --cores={cores}", "")
  conditions = tables.context(command, size, cores or 0)
  failed = []
  for name in options.names:
    section = SECTIONS[name]
    if cores and cores not in section.cores:
      continue
    module = importlib.import_module(section.module)
    cases: Cases = getattr(module, section.function)(scale)
    suffix = f" [{cores}]" if cores else ""
    for case, function in cases.items():
      key = case + suffix
      done = tables.is_done(tables.load(path), name, key, conditions)
      if done and not options.again:
        continue
      start = time.perf_counter()
      try:
        rows = function()
      except Exception:
        traceback.print_exc()
        failed.append(f"{name}: {key}")
        continue
      tables.add(path, name, key, conditions, rows)
      seconds = time.perf_counter() - start
      print(f"{name}: {key}: {seconds:.0f} s", file=sys.stderr, flush=True)
      jax.clear_caches()
    names = {case + suffix for case in cases}
    tables.remove_unknown(path, name, names, suffix)
    write_page(path)
  for case in failed:
    print(f"failed: {case}", file=sys.stderr)
  return int(bool(failed))


def write_page(path: pathlib.Path) -> None:
  """Writes RESULTS.md."""
  titles = {name: section.title for name, section in SECTIONS.items()}
  results = tables.load(path)
  rows = [
    row for c in results.get("networks", {}).values() for row in c["rows"]
  ]
  summary = tables.markdown(goals.summarize(rows)) if rows else ""
  tables.write_page(path, titles, NOTES, summary)


@functools.cache
def _may_be_cpu() -> bool:
  """Returns whether JAX runs on a CPU, without starting it in this process."""
  if os.environ.get("JAX_PLATFORMS"):
    return os.environ["JAX_PLATFORMS"] == "cpu"
  command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
  found = subprocess.run(command, capture_output=True, text=True, check=True)
  return found.stdout.strip() == "cpu"


if __name__ == "__main__":
  sys.exit(main())

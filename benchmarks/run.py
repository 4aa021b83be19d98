"""Runs the benchmarks.

  python benchmarks/run.py                        # all of them
  python benchmarks/run.py training one_step      # some
  python benchmarks/run.py --results=benchmarks/results/h200

prints the tables and adds them to RESULTS.json and RESULTS.md. On an
accelerator, the networks are those of the papers, in bfloat16; on a CPU, they
are small ones in float32, timed on one core. If PyTorch is installed, the same
networks in plain PyTorch with its fused attention are timed too: compiled and
in bfloat16 on an accelerator, not compiled and in float32 on a CPU. Both
implementations run alternately in one process.
"""

import argparse
import importlib
import importlib.util
import pathlib
import shlex
import sys
from collections.abc import Sequence

import jax
from tables import context, markdown, write_tables
from timing import Scale, on_cpu, pin_to_one_core

# Title, module, function, and whether PyTorch is required, by name.
BENCHMARKS: dict[str, tuple[str, str, str, bool]] = {
  "models": ("Networks against PyTorch", "models", "rows", True),
  "training": ("Training step", "training", "rows", False),
  "one_step": ("GET by iterations", "one_step", "rows", False),
  "equilibrium": ("Gradients of equilibria", "equilibrium", "rows", False),
  "samplers": ("Samplers", "samplers", "rows", False),
  "pairs": ("Generation of pairs", "generation", "pairs", False),
  "autoencoder": ("SD's autoencoder", "generation", "autoencoder", False),
  "inception": ("Inception", "inception", "rows", False),
}
TITLES = {name: title for name, (title, *_) in BENCHMARKS.items()}


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs the selected benchmarks and writes their tables.

  Args:
    arguments: command line arguments, by default those of the process.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "names", nargs="*", metavar="NAME", help=", ".join(TITLES)
  )
  parser.add_argument("--size", choices=["paper", "small", "tiny"])
  parser.add_argument("--repeats", type=int, default=7)
  parser.add_argument("--no-torch", action="store_true")
  parser.add_argument("--results", type=pathlib.Path, help="without suffix")
  options = parser.parse_args(arguments)
  unknown = set(options.names) - set(TITLES)
  if unknown:
    parser.error(
      f"unknown benchmark {', '.join(sorted(unknown))}; expected some of: "
      f"{', '.join(TITLES)}"
    )
  pin_to_one_core()
  torch = importlib.util.find_spec("torch") and not options.no_torch
  size = options.size or ("small" if on_cpu() else "paper")
  scale = Scale(size, options.repeats, bool(torch))
  results = options.results or pathlib.Path(
    "benchmarks/results", jax.default_backend()
  )
  command = shlex.join(
    ["python", "benchmarks/run.py", *(arguments or sys.argv[1:])]
  )
  for name in options.names or TITLES:
    title, module, function, needs_torch = BENCHMARKS[name]
    if needs_torch and not torch:
      print(f"\n## {title}\n\nskipped: it needs PyTorch")
      continue
    rows = getattr(importlib.import_module(module), function)(scale)
    tables = {name: {"context": context(command), "rows": rows}}
    write_tables(results, tables, TITLES)
    print(f"\n## {title}\n\n{markdown(rows)}", flush=True)


if __name__ == "__main__":
  main()

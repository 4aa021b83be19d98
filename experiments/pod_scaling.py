"""Scaling of an experiment to 16 to 4,096 chips: memory, collectives, speed.

    python experiments/pod_scaling.py
    python experiments/pod_scaling.py uvit_h2_imagenet256 --pods=v5e:4x4
    python experiments/pod_scaling.py sit_xl2 --pods=gpu

Compiles a training step for each pod with --mode=compile. It needs no
accelerator, but libtpu (`pip install -e ".[tpu]"`), or JAX's CUDA plugin for
GPUs. Results are kept in runs/pod_scaling, so that an interrupted command
resumes; remove the folder to compile again. The table is printed; that of
DiT-XL/2 is written to docs/performance.md, between the comments that name this
script.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from get_jax.aot.collectives import BETWEEN_SLICES
from get_jax.builders.config_file import load_config_file
from get_jax.errors import UsageError

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RUNS = ROOT / "runs" / "pod_scaling"
DOCUMENTED = "dit_xl2"
COMMON = {"scan": True, "dtype": "bfloat16", "remat": "dots"}
HEADER = (
  "| pod | chips | batch | mesh (data x fsdp) | needed of available, GiB "
  "| gathered | reduced | between slices | other | step, ms | bound by "
  "| efficiency | MFU | images/s |\n"
  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: "
  "| --- | ---: | ---: | ---: |\n"
)
REDUCED = ("all-reduce", "reduce-scatter")


@dataclasses.dataclass(frozen=True)
class Pod:
  """A pod and the batch and mesh of its training step.

  Attributes:
    topology: Topology of a slice, such as "v5e:4x4".
    chips: Number of chips in all slices.
    batch: Number of images per step.
    devices: Number of JAX devices.
    fsdp: Size of the mesh axis over which the state is sharded.
    slices: Number of slices.
  """

  topology: str
  chips: int
  batch: int
  devices: int
  fsdp: int = 16
  slices: int = 1

  @property
  def name(self) -> str:
    """Topology of a slice, and the number of slices."""
    return self.topology + (f"/{self.slices}" if self.slices > 1 else "")

  @property
  def folder(self) -> str:
    """Name of the folder of its results."""
    name = self.topology.replace(":", "_")
    return f"{name}_{self.slices}x_{self.batch}_fsdp{self.fsdp}"


PODS = (
  Pod("v5e:4x4", 16, 256, 16),
  Pod("v5e:8x8", 64, 1024, 64),
  Pod("tpu7x:4x4x4", 64, 2048, 128),
  Pod("v5e:16x16", 256, 4096, 256),
  Pod("v6e:16x16", 256, 4096, 256),
  Pod("v5e:16x16", 512, 8192, 512, slices=2),
  Pod("v5p:8x8x8", 512, 2048, 512),
  Pod("v5p:8x8x16", 1024, 16384, 1024),
  Pod("v5p:16x16x16", 4096, 65536, 4096),
)
GPU_PODS = tuple(
  Pod(f"h200:{hosts}x8", 8 * hosts, 256 * hosts, 8 * hosts, fsdp=8)
  for hosts in (1, 8, 32, 128)
)


def pods_of(text: str) -> Sequence[Pod]:
  """Returns the pods of a flag: "tpu", "gpu" or names, divided by commas."""
  groups = {"tpu": PODS, "gpu": GPU_PODS}
  if text in groups:
    return groups[text]
  known = {pod.name: pod for pod in PODS + GPU_PODS}
  unknown = [name for name in text.split(",") if name not in known]
  if unknown:
    raise argparse.ArgumentTypeError(
      f"{unknown[0]!r} is no pod; expected tpu, gpu, or some of "
      f"{', '.join(known)}"
    )
  return [known[name] for name in text.split(",")]


def main() -> None:
  """Compiles the missing pods, prints the table and writes that of DiT-XL/2."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "config", nargs="?", default=DOCUMENTED, help="default: %(default)s"
  )
  parser.add_argument(
    "--pods",
    type=pods_of,
    default=PODS,
    help="tpu (default), gpu, or names such as v5e:4x4,v5e:16x16/2",
  )
  arguments = parser.parse_args()
  try:
    load_config_file(arguments.config)
  except UsageError as error:
    parser.error(str(error))
  rows = []
  with tqdm(arguments.pods, desc="compiling", unit="pod") as bar:
    for pod in bar:
      bar.set_postfix_str(pod.name)
      rows.append(format_row(pod, compile_report(arguments.config, pod)))
  table = HEADER + "\n".join(rows)
  print(table)
  if arguments.config == DOCUMENTED and arguments.pods == PODS:
    write_table(table)


def write_table(table: str) -> None:
  """Writes the table to the page."""
  text = PAGE.read_text("utf-8")
  start, end = (
    f"<!-- {edge}: experiments/pod_scaling.py -->" for edge in ("from", "to")
  )
  pattern = f"{re.escape(start)}.*{re.escape(end)}"
  section = f"{start}\n\n{table}\n\n{end}"
  PAGE.write_text(re.sub(pattern, lambda _: section, text, flags=re.S), "utf-8")


def compile_report(config: str, pod: Pod) -> dict[str, Any]:
  """Returns the report of --mode=compile, which runs if there is none yet."""
  workdir = RUNS / pathlib.Path(config).stem / pod.folder
  path = workdir / "results" / "compile.json"
  if not path.exists():
    model = load_config_file(config).model
    settings = {
      **{f"model.{key}": v for key, v in COMMON.items() if key in model},
      "batch_size": pod.batch,
      "mesh.data": -1,
      "mesh.fsdp": pod.fsdp,
    }
    subprocess.run(
      [
        sys.executable,
        "main.py",
        "--mode=compile",
        f"--config={config}",
        f"--workdir={workdir}",
        f"--topology={pod.topology}",
        f"--num_slices={pod.slices}",
        *(f"--config.{key}={value}" for key, value in settings.items()),
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
    )
  return json.loads(path.read_text("utf-8"))


def format_row(pod: Pod, report: dict[str, Any]) -> str:
  """Returns the table row of a pod.

  Args:
    pod: The pod.
    report: Content of `results/compile.json`.
  """
  name = pod.topology + (f", {pod.slices} slices" if pod.slices > 1 else "")
  mesh = f"{pod.devices // pod.fsdp} x {pod.fsdp}"
  if not report["fits"]:
    memory = f"does not fit ({report['available'] / 2**30:.2f})"
    return (
      " | ".join(
        (f"| {name}", f"{pod.chips:,}", f"{pod.batch:,}", mesh, memory)
      )
      + " |" * 10
    )
  collectives = report["collectives"]
  gathered = _format_gib(collectives, ["all-gather"])
  reduced = _format_gib(collectives, REDUCED)
  between_slices = {
    kind for kind in collectives if kind.endswith(BETWEEN_SLICES)
  }
  between = _format_gib(collectives, between_slices)
  other = _format_gib(
    collectives, set(collectives) - between_slices - {"all-gather", *REDUCED}
  )
  roofline = report["roofline"]
  # Communication either follows computation or overlaps with it.
  computation = max(roofline["compute"], roofline["memory"])
  slow = computation + roofline["sending"]
  fast = max(computation, roofline["sending"])
  bound = max(("compute", "memory", "sending"), key=lambda k: roofline[k])
  # Operations that are recomputed do not count.
  useful = report["operations"] / report["operations_done"] * roofline["floor"]
  return (
    f"| {name} | {pod.chips:,} | {pod.batch:,} | {mesh} "
    f"| {report['needed'] / 2**30:.1f} of {report['available'] / 2**30:.1f} "
    f"| {gathered} | {reduced} | {between} | {other} "
    f"| {fast * 1e3:.0f} to {slow * 1e3:.0f} | {bound} "
    f"| {computation / slow:.0%} to {computation / fast:.0%} "
    f"| {useful / slow:.0%} to {useful / fast:.0%} "
    f"| {pod.batch / slow:,.0f} to {pod.batch / fast:,.0f} |"
  )


def _format_gib(collectives: Mapping[str, dict], kinds: Iterable[str]) -> str:
  size = sum(
    collectives[kind]["bytes"] for kind in kinds if kind in collectives
  )
  return f"{size / 2**30:.2f}"


if __name__ == "__main__":
  main()

r"""DiT-XL/2 on pods of 16 to 4,096 chips: memory, collectives, efficiency.

    python experiments/pod_scaling.py

Compiles a step of training for every pod, one after the other, with
--mode=compile; no accelerator is needed, libtpu is (`pip install -e ".[tpu]"`).
What is compiled is kept in runs/pod_scaling, so that an interrupted command
goes on; remove the folder to compile anew. The table goes to
docs/performance.md, between the lines that name this script.
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

from tqdm import tqdm

from get_jax.aot.collectives import BETWEEN_SLICES

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RUNS = ROOT / "runs" / "pod_scaling"
CONFIG = "configs/dit_xl2.py"
COMMON = {"model.scan": True, "model.dtype": "bfloat16", "model.remat": "dots"}
HEADER = (
  "| pod | chips | batch | mesh (data x fsdp) | needed of available, GiB "
  "| gathered | reduced | between slices | other | step, ms | efficiency "
  "| images/s |\n"
  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: "
  "| ---: | ---: |\n"
)
REDUCED = ("all-reduce", "reduce-scatter")


@dataclasses.dataclass(frozen=True)
class Pod:
  """A pod and what it trains on.

  Attributes:
    topology: of a slice.
    chips: in all slices.
    batch: images.
    devices: of JAX.
    fsdp: the axis that the state is split over.
    slices: how many.
  """

  topology: str
  chips: int
  batch: int
  devices: int
  fsdp: int = 16
  slices: int = 1

  @property
  def folder(self) -> pathlib.Path:
    """Where its figures are."""
    name = self.topology.replace(":", "_")
    return RUNS / f"{name}_{self.slices}x_{self.batch}_fsdp{self.fsdp}"


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


def main() -> None:
  """Compiles what is not compiled yet and writes the table."""
  rows = []
  with tqdm(PODS, desc="compiling", unit="pod") as bar:
    for pod in bar:
      bar.set_postfix_str(pod.topology)
      rows.append(row(pod, figures(pod)))
  table = HEADER + "\n".join(rows)
  print(table)
  text = PAGE.read_text("utf-8")
  start, end = (
    f"<!-- {edge}: experiments/pod_scaling.py -->" for edge in ("from", "to")
  )
  pattern = f"{re.escape(start)}.*{re.escape(end)}"
  made = f"{start}\n\n{table}\n\n{end}"
  PAGE.write_text(re.sub(pattern, lambda _: made, text, flags=re.S), "utf-8")


def figures(pod: Pod) -> dict:
  """What --mode=compile says of a pod."""
  path = pod.folder / "results" / "compile.json"
  if not path.exists():
    settings = {
      **COMMON,
      "batch_size": pod.batch,
      "mesh.data": -1,
      "mesh.fsdp": pod.fsdp,
    }
    subprocess.run(
      [
        sys.executable,
        "main.py",
        "--mode=compile",
        f"--config={CONFIG}",
        f"--workdir={pod.folder}",
        f"--topology={pod.topology}",
        f"--num_slices={pod.slices}",
        *(f"--config.{key}={value}" for key, value in settings.items()),
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
    )
  return json.loads(path.read_text("utf-8"))


def row(pod: Pod, found: dict) -> str:
  """A line of the table."""
  name = pod.topology + (f", {pod.slices} slices" if pod.slices > 1 else "")
  mesh = f"{pod.devices // pod.fsdp} x {pod.fsdp}"
  if not found["fits"]:
    memory = f"does not fit ({found['available'] / 2**30:.2f})"
    return (
      " | ".join(
        (f"| {name}", f"{pod.chips:,}", f"{pod.batch:,}", mesh, memory)
      )
      + " |" * 8
    )
  sent = found["collectives"]
  gathered = _gib(sent, ["all-gather"])
  reduced = _gib(sent, REDUCED)
  slices = {kind for kind in sent if kind.endswith(BETWEEN_SLICES)}
  between = _gib(sent, slices)
  other = _gib(sent, set(sent) - slices - {"all-gather", *REDUCED})
  line = found["roofline"]
  alone = max(line["compute"], line["memory"])
  slow, fast = alone + line["sending"], max(alone, line["sending"])
  return (
    f"| {name} | {pod.chips:,} | {pod.batch:,} | {mesh} "
    f"| {found['needed'] / 2**30:.1f} of {found['available'] / 2**30:.1f} "
    f"| {gathered} | {reduced} | {between} | {other} "
    f"| {fast * 1e3:.0f} to {slow * 1e3:.0f} "
    f"| {alone / slow:.0%} to {alone / fast:.0%} "
    f"| {pod.batch / slow:,.0f} to {pod.batch / fast:,.0f} |"
  )


def _gib(sent: dict, kinds) -> str:
  size = sum(sent[kind]["bytes"] for kind in kinds if kind in sent)
  return f"{size / 2**30:.2f}"


if __name__ == "__main__":
  main()

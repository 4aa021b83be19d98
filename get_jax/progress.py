"""Progress of long work: a bar or plain lines, and how it has ended."""

import io
import sys
from typing import Any, Literal

from clu import platform
from tqdm import tqdm

LINE_INTERVAL = 30.0  # seconds between lines where there is no terminal
_LINE = (
  "{desc}: {n_fmt} of {total_fmt} {unit}s, {rate_fmt}, "
  "{remaining} left{postfix}"
)


def print_ending(
  ending: Literal["Finished", "Stopped", "Failed"], text: str
) -> None:
  """Prints the last line of a program, which says how it has ended.

  Args:
    ending: "Finished"; "Stopped", if the same command continues; or "Failed".
    text: what was made, or how to go on, or what is wrong. The line is printed
      to stdout if the program has finished, else to stderr.
  """
  file = sys.stdout if ending == "Finished" else sys.stderr
  print(f"{ending}: {text}", file=file, flush=True)


class ProgressBar(tqdm):
  """A tqdm bar that prints a line every 30 s if stderr is not a terminal.

  A log file thus gets a few lines with count, rate, remaining time and postfix,
  and not every state of the bar. Work that ends within 30 s prints its last
  line only. A line is also the note of clu's work unit, which a platform may
  show next to the job.

  Args:
    *args: as for `tqdm`.
    **kwargs: as for `tqdm`.
  """

  def __init__(self, *args: Any, **kwargs: Any):
    self._plain = not sys.stderr.isatty()
    self._printed: int | float | None = None  # count of the last line
    kwargs["file"] = sys.stderr
    if self._plain:
      # With a fixed `miniters`, the time alone decides when a line is due.
      # tqdm would adapt it and print lines from a thread after 10 s.
      kwargs |= dict(mininterval=LINE_INTERVAL, miniters=1, bar_format=_LINE)
    super().__init__(*args, **kwargs)

  def display(self, msg: str | None = None, pos: int | None = None) -> Any:
    """Shows the bar, or prints a line."""
    if not self._plain:
      return super().display(msg, pos)
    if self.n > self.initial and self.n != self._printed:
      self._printed, line = self.n, msg or str(self)
      print(line, file=self.fp, flush=True)
      platform.work_unit().set_notes(line)
    return True

  def close(self) -> None:
    """Ends the bar, or prints the last line."""
    if self._plain and not self.disable:
      self.display()
      # tqdm would draw the bar once more and end its line.
      self.fp = io.StringIO()
    super().close()

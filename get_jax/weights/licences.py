"""Licences of published weights, and their acceptance by the user."""

import pathlib

from get_jax.errors import UsageError
from get_jax.weights.entry import Entry, Licence

CC_BY_NC = Licence(
  "CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/", False
)
CC_BY_NC_SA = Licence(
  "CC BY-NC-SA 4.0",
  "https://creativecommons.org/licenses/by-nc-sa/4.0/",
  False,
)
APACHE = Licence("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0")
OPEN_RAIL_M = Licence(
  "CreativeML OpenRAIL-M",
  "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
)

# Written into the folder of weights whose licence was accepted.
ACCEPTED = "LICENCE"

_accepted = False


def mit(page: str) -> Licence:
  """Returns the MIT licence of the repository at `page`."""
  return Licence("MIT", page)


def not_stated(page: str) -> Licence:
  """Returns the licence of files whose page states none."""
  return Licence("none stated", page)


def accept(accepted: bool = True) -> None:
  """Accepts the licences of all weights that this process uses from now on."""
  global _accepted
  _accepted = accepted


def check(entry: Entry, folder: pathlib.Path, accepted: bool = False) -> None:
  """Checks that a licence that excludes commercial use was accepted.

  The first acceptance prints the licence and is stored with the weights.

  Args:
    entry: the weights.
    folder: their folder in the cache.
    accepted: whether the licence is accepted now.

  Raises:
    UsageError: the licence excludes commercial use and was never accepted.
  """
  licence, stored = entry.licence, folder / ACCEPTED
  if licence.commercial or stored.exists():
    return
  terms = f"{licence.name} (non-commercial use only), {licence.url}"
  if not (accepted or _accepted):
    raise UsageError(
      f"the licence of {entry.name} is {terms}; read it, and accept it with "
      "--accept_licence"
    )
  print(f"{entry.name}: licence {terms}")
  folder.mkdir(parents=True, exist_ok=True)
  stored.write_text(f"{licence.name}\n{licence.url}\n", "utf-8")

"""--mode=demo: a page in the browser that generates images."""

import importlib.util

from get_jax.errors import UsageError


def run(
  workdir: str | None = None,
  weights: str | None = None,
  port: int | None = None,
) -> None:
  """Serves a page to this machine until SIGTERM or SIGINT.

  It changes nothing in the workdir.

  Args:
    workdir: folder of a run whose averaged parameters (EMA) are used.
    weights: name of published weights, instead of a run.
    port: port of the page; None: the first free one from 7860 on.

  Raises:
    Stopped: SIGTERM or SIGINT was received.
    UsageError: not exactly one of workdir and weights is given, the network
      cannot be loaded, the port is in use, or Gradio is not installed.
  """
  if (workdir is None) == (weights is None):
    found = "neither" if workdir is None else "both"
    raise UsageError(
      f"found {found} of --workdir and --weights; --mode=demo expects the "
      "workdir of a run, or a name such as --weights=get-digits"
    )
  if importlib.util.find_spec("gradio") is None:
    raise UsageError(
      "--mode=demo needs Gradio, which is not installed; run: pip install "
      "'get_jax[demo]'"
    )
  from get_jax.demo.networks import load_published, load_run
  from get_jax.demo.server import choose_port, serve

  port = choose_port(port)
  if weights is not None:
    networks = load_published(weights)
  else:
    assert workdir is not None
    networks = load_run(workdir)
  serve(networks, port)

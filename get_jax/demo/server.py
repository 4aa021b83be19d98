"""Serves the page of the demo to this machine, until a signal stops it."""

import os
import pathlib
import socket
import tempfile
import time

import gradio as gr

from get_jax.demo.networks import Networks
from get_jax.demo.page import build_page
from get_jax.errors import UsageError
from get_jax.training.preemption import Stopped, handle_stop_signals

HOST = "127.0.0.1"  # the loopback interface: other machines can't connect
FIRST_PORT, NUM_PORTS = 7860, 100
CSS = pathlib.Path(__file__).with_name("page.css")
# Fonts of the system: the page loads nothing from elsewhere.
THEME = gr.themes.Default(
  primary_hue="blue",
  neutral_hue="gray",
  font=["system-ui", "sans-serif"],
  font_mono=["ui-monospace", "monospace"],
)
POLL = 0.2  # seconds between two looks for a signal


def choose_port(port: int | None) -> int:
  """Returns a free port.

  Args:
    port: the port; None: the first free one from 7860 on.

  Raises:
    UsageError: it is in use, or the user may not use it.
  """
  ports = range(FIRST_PORT, FIRST_PORT + NUM_PORTS) if port is None else [port]
  for candidate in ports:
    with socket.socket() as listener:
      listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      try:
        listener.bind((HOST, candidate))
      except OSError as error:
        reason = error.strerror
        continue
    return candidate
  if port is not None:
    raise UsageError(
      f"--port={port} cannot be used ({reason}); expected a free port, or no "
      f"--port for the first free one from {FIRST_PORT} on"
    )
  raise UsageError(
    f"ports {ports[0]} to {ports[-1]} are in use; expected a free --port"
  )


def serve(networks: Networks, port: int) -> None:
  """Serves the page until SIGTERM or SIGINT.

  Args:
    networks: the network and its teacher.
    port: a free port, from `choose_port`.

  Raises:
    Stopped: SIGTERM or SIGINT was received.
    UsageError: see `build_page`.
  """
  with (
    handle_stop_signals() as stop_requested,
    tempfile.TemporaryDirectory(prefix="get_jax_demo_") as folder,
  ):
    # Gradio serves and keeps files in this folder alone. The page needs none.
    os.environ["GRADIO_TEMP_DIR"] = folder
    page = build_page(networks)
    _launch(page, port, folder)
    url = f"http://{HOST}:{port}"
    print(
      f"{networks.name} is on {url}, for this machine only; Ctrl-C stops it",
      flush=True,
    )
    while not stop_requested("demo"):
      time.sleep(POLL)
    page.close(verbose=False)
  raise Stopped(f"the page on {url} is closed")


def _launch(page: gr.Blocks, port: int, folder: str) -> None:
  """Starts the server in a thread.

  Every setting that Gradio would otherwise take from an environment variable,
  and that could open the page to others, has a value here.
  """
  page.launch(
    server_name=HOST,
    server_port=port,
    share=False,
    allowed_paths=[folder],
    root_path="",
    ssr_mode=False,
    mcp_server=False,
    run_history=False,
    enable_monitoring=False,
    pwa=False,
    num_workers=0,
    footer_links=[],
    inline=False,
    quiet=True,
    prevent_thread_lock=True,
    theme=THEME,
    css=CSS.read_text("utf-8"),
  )

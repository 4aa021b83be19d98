"""Runs the library where it can neither connect nor unpickle anything.

python -m tests.faults.isolated FOLDER

Imports every module, reads files of every format, restores a checkpoint and
runs --mode=summary. Prints what was done. The first attempt to connect to an
address, to look one up, or to unpickle ends the process. `tests.faults.soak`
runs its programs in the same way: train, pairs, latents, sample and evaluate.

Exempt are sockets between the processes of one machine, and what the processes
of one program send each other: `multiprocessing` and `concurrent.futures`
pickle objects that the same program has just made, and no file.
"""

import json
import os
import pathlib
import pickle
import shutil
import socket
import sys
import traceback

_TRANSPORT = ("multiprocessing.", "concurrent.futures.")
_LOOKUPS = (
  "socket.getaddrinfo",
  "socket.gethostbyaddr",
  "socket.gethostbyname",
  "socket.getnameinfo",
)
_CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")
EXIT_CODE = 3
_STDERR = os.dup(2)  # it may be redirected later


class Trapped(BaseException):
  """The library did what it never may."""


def trap(on_forbidden):
  """Traps connections and unpickling, for the rest of the process.

  It precedes the import of other modules, which may import the functions by
  name.

  Args:
    on_forbidden: called with what is attempted.
  """

  def audit(event, arguments):
    if event in _LOOKUPS:
      on_forbidden(f"{event}{arguments}")
    elif event in _CONNECTIONS:
      if arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        on_forbidden(f"{event}{arguments[1:]}")
    elif event == "pickle.find_class":
      unpickle(f"{event}{arguments}")

  def unpickle(name):
    frame = sys._getframe(2)
    while frame is not None:
      if frame.f_globals.get("__name__", "").startswith(_TRANSPORT):
        return
      frame = frame.f_back
    on_forbidden(name)

  def trapped(name):
    original = getattr(pickle, name)

    def function(*args, **kwargs):
      unpickle(f"pickle.{name}")
      return original(*args, **kwargs)

    setattr(pickle, name, function)

  class Unpickler(pickle.Unpickler):
    def __init__(self, *args, **kwargs):
      unpickle("pickle.Unpickler")
      super().__init__(*args, **kwargs)

  load_in_python = pickle._Unpickler.load

  def load(self):
    unpickle("pickle._Unpickler")
    return load_in_python(self)

  for name in ("load", "loads"):
    trapped(name)
  pickle.Unpickler, pickle._Unpickler.load = Unpickler, load
  sys.addaudithook(audit)


def end(name):
  """Reports what was attempted and where, and ends the process."""
  text = "".join([*traceback.format_stack(), f"trapped: {name}\n"])
  os.write(_STDERR, text.encode())
  os._exit(EXIT_CODE)


def import_all():
  """Imports every module of the library; returns their number."""
  import importlib
  import pkgutil

  import get_jax

  names = [m.name for m in pkgutil.walk_packages(get_jax.__path__, "get_jax.")]
  for name in names:
    importlib.import_module(name)
  return len(names)


def refuse_objects():
  """Lets NumPy read no file as a pickle, as it does unless it is asked to."""
  import numpy as np

  load, read_array = np.load, np.lib.format.read_array

  def checked_load(file, mmap_mode=None, allow_pickle=False, **kwargs):
    if allow_pickle:
      end("numpy.load(allow_pickle=True)")
    return load(file, mmap_mode, **kwargs)

  def checked_read_array(file, allow_pickle=False, *args, **kwargs):
    if allow_pickle:
      end("numpy.lib.format.read_array(allow_pickle=True)")
    return read_array(file, allow_pickle, *args, **kwargs)

  np.load, np.lib.format.read_array = checked_load, checked_read_array


def run_modes(folder):
  """Restores parameters and counts them, as main.py does."""
  from get_jax.cli.launch import join_processes
  from get_jax.modes import summary
  from get_jax.training.checkpoints import load_params
  from get_jax.weights import fetch, names
  from get_jax.weights.registry import find
  from tests.faults.make_workdir import WORKDIRS
  from tests.helpers import tiny_config

  with join_processes("train", None, None, None, 900.0, str(folder)):
    for workdir in sorted(WORKDIRS.iterdir()):
      shutil.copytree(workdir, folder / workdir.name)
      assert load_params(folder / workdir.name)
  summary.run(tiny_config(), str(folder / "summary"))
  for name in names():
    if find(name).packaged:
      assert fetch(name).exists()


def read_files(folder):
  """Reads files of every format; returns the names of the readers."""
  from tests.faults.readers import READERS

  installed = {
    k: reader for k, reader in READERS.items() if reader.is_installed
  }
  for name, reader in installed.items():
    files = folder / name
    files.mkdir(parents=True)
    reader.write(files)
    reader.read(files)
  return [*installed]


def main(folder):
  """Does all of that."""
  trap(end)
  count = import_all()
  refuse_objects()
  folder = pathlib.Path(folder)
  run_modes(folder / "runs")
  readers = read_files(folder / "files")
  print(json.dumps({"modules": count, "readers": readers}))


if __name__ == "__main__":
  main(*sys.argv[1:])

"""Processes that start with the library already imported.

To import the library takes a new process seconds. The server imports it once,
and forks for each command line. JAX has no threads before its backend is
initialised, which each fork does for itself, with its own `XLA_FLAGS`.
Variables that JAX reads when it is imported can't be changed in a fork.
"""

import functools
import gc
import importlib
import json
import os
import pathlib
import pkgutil
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile

from tests.parameter_shapes import keep_parameter_shapes

ROOT = pathlib.Path(__file__).parents[1]
# What the library imports where it is needed.
IMPORTED_LATE = (
  "get_jax.cli.main",
  "jaxlib.mlir.dialects.mhlo",
  "matplotlib.backends.backend_svg",
  "matplotlib.pyplot",
  "scipy.stats",
  "sklearn.datasets",
  "tensorboardX",
)
# Of all finished processes; the operating system counts them for the server.
finished_cpu_seconds = 0.0


def collect_rarely():
  """Lets the garbage collector run less often.

  It takes an eighth of the time of tracing, which allocates many objects.
  """
  gc.set_threshold(20_000, 20, 50)


def _read_at_import(environment):
  return {k: v for k, v in environment.items() if k.startswith("JAX_")}


class Process:
  """A process of the server, with the interface of `subprocess.Popen`."""

  def __init__(self, command, env, stdout, stderr):
    server, connection, environment = _start()
    assert _read_at_import(env) == _read_at_import(environment)
    assert server.poll() is None
    self.args = command
    self.returncode = None
    self._output = [_open(stdout), _open(stderr)]
    self._status, status = os.pipe()
    with tempfile.TemporaryFile("w+") as request:
      json.dump({"command": [*map(str, command)], "env": env}, request)
      request.flush()
      files = [request.fileno(), status, *(f.fileno() for f in self._output)]
      socket.send_fds(connection, [b"x"], files)
    # Only the server has it now, so that the end of the server ends the wait.
    os.close(status)
    started = self._read()
    assert started, "the fork server has ended; its message is on stderr"
    self.pid = int(started)

  def _read(self):
    return os.read(self._status, 100)

  def poll(self):
    """Returns the exit code, None if the process still runs."""
    if self.returncode is None and select.select([self._status], [], [], 0)[0]:
      self.wait()
    return self.returncode

  def wait(self, timeout=None):
    """Waits for the end of the process; returns its exit code."""
    global finished_cpu_seconds
    if self.returncode is None:
      if not select.select([self._status], [], [], timeout)[0]:
        raise subprocess.TimeoutExpired(self.args, timeout)
      code, seconds = self._read().split()
      self.returncode = int(code)
      finished_cpu_seconds += float(seconds)
      os.close(self._status)
    return self.returncode

  def send_signal(self, number):
    """Sends a signal, unless the process has ended."""
    if self.poll() is None:
      os.kill(self.pid, number)

  def kill(self):
    """Sends SIGKILL, unless the process has ended."""
    self.send_signal(signal.SIGKILL)

  def communicate(self, timeout=None):
    """Waits for the end of the process; returns its captured output."""
    self.wait(timeout)
    texts = []
    for file in self._output:
      file.seek(0)
      texts.append(file.read())
    return tuple(texts)


def _open(target):
  """Returns a file for output: of a path, or a temporary one."""
  if target is None:
    return tempfile.TemporaryFile("w+", errors="replace")
  return pathlib.Path(target).open("w+", errors="replace")


@functools.cache
def _start():
  """Starts the server; returns it, the socket to it and its environment."""
  environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
  ours, theirs = socket.socketpair()
  with theirs:
    server = subprocess.Popen(
      [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
      cwd=ROOT,
      env=environment,
      pass_fds=[theirs.fileno()],
    )
  return server, ours, environment


def stop():
  """Ends the server of this process, if it has one."""
  if _start.cache_info().currsize:
    server, connection, _ = _start()
    connection.close()
    server.wait()
    _start.cache_clear()


def _serve(connection):
  """Forks for each request, until the tests have ended."""
  import get_jax.modes

  modes = pkgutil.iter_modules(get_jax.modes.__path__, "get_jax.modes.")
  for name in (*(mode.name for mode in modes), *IMPORTED_LATE):
    importlib.import_module(name)
  keep_parameter_shapes()
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)
  collect_rarely()
  gc.freeze()
  while True:
    message, files, _, _ = socket.recv_fds(connection, 1, 4)
    if not message:
      return
    if os.fork() == 0:
      connection.close()
      _supervise(*files)
      os._exit(0)
    for file in files:
      os.close(file)


def _supervise(request, status, stdout, stderr):
  """Runs a fork, and reports its id, exit code and processor time.

  The fork itself leaves this function by an exception, so that it ends as every
  Python process.
  """
  signal.signal(signal.SIGCHLD, signal.SIG_DFL)
  pid = os.fork()
  if pid == 0:
    os.close(status)
    with os.fdopen(request) as file:
      file.seek(0)
      content = json.load(file)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
      os.dup2(source, target)
      os.close(source)
    _run(**content)
  os.write(status, str(pid).encode())
  code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  os.write(status, f"{code} {usage.ru_utime + usage.ru_stime}".encode())


def _run(command, env):
  """Runs a Python command line in this process, and exits."""
  os.environ.clear()
  os.environ.update(env)
  interpreter, *sys.argv = command
  assert interpreter == sys.executable
  if sys.argv[0] == "-m":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
  else:
    runpy.run_path(sys.argv[0], run_name="__main__")
  sys.exit()


if __name__ == "__main__":
  with socket.socket(fileno=int(sys.argv[1])) as tests:
    _serve(tests)

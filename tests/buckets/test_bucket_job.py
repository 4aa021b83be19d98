"""The job of the README's first command, from a bucket to a bucket."""

import io
import json

import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.modes import evaluate, pairs, sample, train
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import load_params, saved_steps
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import PERFORMANCE_KEYS
from get_jax.training.workdir import locked, open_workdir
from tests.bucket_server import BUCKET
from tests.helpers import tiny_job

TINIER = dict(
  report__enabled=False,
  distillation__iterations=1,
  sampling__iterations=1,
  sampling__count=40,
  sampling__batch_size=40,
  evaluation__count=40,
  teacher__sampler__num_steps=2,
  pairs__count=32,
)
URL = f"gs://{BUCKET}/job"


def run(workdir):
  for mode in (train, sample, evaluate):
    mode.run(tiny_job(**TINIER), str(workdir))
  return workdir


@pytest.fixture(scope="module")
def local(tmp_path_factory):
  """The job in a folder."""
  return run(as_path(tmp_path_factory.mktemp("job")))


@pytest.fixture(scope="module")
def jobs(local, bucket_server):
  """The job in a folder, and the same in a bucket."""
  return local, run(as_path(URL))


def test_the_job_in_a_folder(local):
  assert read(local / "results" / "evaluate.json")["scores"]


def files(workdir):
  """The names of all files but those of checkpoints and locks."""
  return sorted(
    f"{str(folder).partition('job')[2].partition('/')[2]}/{name}"
    for folder, _, names in workdir.walk()
    for name in names
    if "checkpoints" not in str(folder) and not name.startswith("lock")
  )


def metrics(workdir):
  return [
    {k: v for k, v in record.items() if k not in PERFORMANCE_KEYS}
    for record in read_metrics(workdir)
  ]


def read(path):
  return json.loads(path.read_text("utf-8"))


def test_the_same_files(jobs):
  local, remote = ([n for n in files(w) if "events" not in n] for w in jobs)
  assert local == remote and len(local) > 15


def test_the_same_parameters_and_metrics(jobs):
  for local, remote in (jobs, [workdir / "teacher" for workdir in jobs]):
    for a, b in zip(leaves(local), leaves(remote), strict=True):
      np.testing.assert_array_equal(a, b)
    assert metrics(local) == metrics(remote)
    assert metrics(local)
    assert saved_steps(local) == saved_steps(remote)


def leaves(workdir):
  import jax

  params = jax.tree.leaves(load_params(workdir))
  assert len(params) > 10
  return params


def test_the_same_pairs_samples_and_scores(jobs):
  local, remote = jobs
  for path in sorted(local.glob("pairs/*.npy")):
    assert path.read_bytes() == (remote / "pairs" / path.name).read_bytes()
  arrays = []
  for workdir in jobs:
    content = io.BytesIO((workdir / "samples" / "samples.npz").read_bytes())
    with np.load(content) as stored:
      arrays.append({name: stored[name] for name in stored.files})
  assert arrays[0].keys() == arrays[1].keys() == {"arr_0", "arr_1"}
  for name, array in arrays[0].items():
    np.testing.assert_array_equal(array, arrays[1][name])
  png = "samples/samples.png"
  assert (local / png).read_bytes() == (remote / png).read_bytes()
  results = "results/evaluate.json"
  assert read(local / results) == read(remote / results)


def test_a_second_run_repeats_nothing(jobs, bucket_server, capsys):
  before = bucket_server.objects("job/")
  train.run(tiny_job(**TINIER), URL)
  assert capsys.readouterr().out.count("already in gs://test-bucket/job") == 3
  after = bucket_server.objects("job/")
  changed = {name for name in after if after[name] != before.get(name)}
  assert after.keys() == before.keys()
  # Its time is written anew.
  assert changed <= {"job/results/index.html"}


def test_a_second_writer_is_refused(jobs):
  with locked(as_path(URL)):
    with pytest.raises(UsageError, match="uses gs://test-bucket/job; expected"):
      pairs.run(tiny_job(**TINIER), URL)


def test_another_experiment_is_refused(jobs):
  with pytest.raises(
    UsageError, match="gs://test-bucket/job belongs to another"
  ):
    open_workdir(URL, tiny_job(seed=7))

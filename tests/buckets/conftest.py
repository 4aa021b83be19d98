"""A bucket on loopback for the tests in this folder."""

import uuid
from collections.abc import Iterator

import pytest

from tests.bucket_server import BUCKET, BucketServer


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
  """A server whose environment this process, and its children, have."""
  with BucketServer() as server, pytest.MonkeyPatch.context() as patch:
    for name, value in server.environment.items():
      patch.setenv(name, value)
    yield server


@pytest.fixture
def bucket(bucket_server) -> str:
  """URL of an empty folder in the bucket."""
  return f"gs://{BUCKET}/{uuid.uuid4().hex[:8]}"

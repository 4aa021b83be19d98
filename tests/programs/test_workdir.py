"""Which settings may change between two visits to the same run."""

import pytest

from configs import dit_s8
from get_jax.errors import UsageError
from get_jax.programs.workdir import open_workdir


def test_a_run_may_compute_the_same_in_another_way(tmp_path):
  config = dit_s8.get_config()
  open_workdir(tmp_path, config)
  config.model.scan = True
  config.model.remat = "dots"
  open_workdir(tmp_path, config)
  config.model.dtype = "bfloat16"
  with pytest.raises(UsageError, match=r"differs in model.dtype \('float32'"):
    open_workdir(tmp_path, config)

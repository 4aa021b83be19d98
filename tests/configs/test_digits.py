"""Experiments on the digits."""

import importlib
import json

import pytest

SCHEDULES = (
  ("progressive_distillation", "steps_per_stage", 1 / 8),
  ("easy_consistency", "stage_steps", 1 / 8),
  ("consistency_training", "schedule_steps", 1),
)


@pytest.mark.parametrize(("task", "field", "share"), SCHEDULES)
def test_schedules_follow_the_number_of_steps(task, field, share):
  config = importlib.import_module(f"configs.{task}_digits").get_config()
  assert config[task][field] == config.num_steps * share
  config.num_steps = 800
  assert config[task][field] == 800 * share
  # A stage of no steps is not valid.
  config.num_steps = 1
  saved = json.loads(config.to_json())
  assert saved[task][field] == 1
  config[task][field] = 50
  assert (config[task][field], config.num_steps) == (50, 1)

"""Damaged small files: a sentence, or one warning and a way without them."""

import json

import numpy as np
import pytest

from get_jax.data.latents import LatentsSource
from get_jax.data.texts import StoredTexts
from get_jax.errors import UsageError
from get_jax.interop.pretrained import load_text_encoder
from get_jax.jobs.captions import encode_captions
from get_jax.jobs.report import read_report
from get_jax.jobs.report_page import PAGE, write_page
from get_jax.storage.paths import as_path
from get_jax.training.metrics import read_metrics
from get_jax.training.wandb_writer import run_id
from get_jax.weights.downloader import ResumingDownloader
from get_jax.weights.web_form import form_address
from tests.faults import readers_of_libraries, readers_of_records
from tests.faults.readers_of_records import RECORD_READERS, RESULTS


def messages(caplog):
  return [record.getMessage() for record in caplog.records]


def change(path, **values):
  path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_damaged_report_is_made_again(tmp_path, caplog):
  path = as_path(tmp_path / "report.json")
  assert read_report(path, "i") is None
  path.write_text(json.dumps(RESULTS["report"]))
  assert read_report(path, "i") == RESULTS["report"]
  assert read_report(path, "of other parameters") is None
  assert not messages(caplog)
  path.write_text('{"identity": "i"}')
  assert read_report(path, "i") is None
  (line,) = messages(caplog)
  assert line == f"{path} is damaged ('GET'); the report is made again"


def test_the_page_leaves_out_damaged_results(tmp_path, caplog):
  RECORD_READERS["run-page"].write(tmp_path)
  change(tmp_path / "results/evaluate.json", scores={"fid[x]": "1"})
  (tmp_path / "results/curve.json").write_text("{")
  (tmp_path / "metrics.jsonl").write_text(
    '{"step": 1, "images_per_second": NaN}\n{"step": 2, "loss": -Infinity}\n'
    f'{{"step": 3, "loss": 1{"0" * 400}}}\n'
  )
  assert len(read_metrics(tmp_path)) == 2
  write_page(as_path(tmp_path))
  first, second = messages(caplog)
  assert first.startswith(f"{tmp_path}/results/curve.json is not JSON")
  assert first.endswith("; the page is written without it")
  assert second.startswith(f"{tmp_path}/results/evaluate.json is damaged (")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("get_jax.jobs.report_page.log.warning", lambda *_: None)
    change(tmp_path / "config.json", model=[])
    with pytest.raises(UsageError, match="config.json is not the config of"):
      write_page(as_path(tmp_path))
  page = (tmp_path / PAGE).read_text()
  assert "Student and teacher" in page
  assert "Evaluation" not in page


def test_another_run_of_wandb_is_started(tmp_path, caplog):
  path = as_path(tmp_path / "wandb.json")
  first = run_id(path, "team/digits")
  assert run_id(path, "team/digits") == first
  path.write_text("[]")
  second = run_id(path, "team/digits")
  assert second != first
  assert run_id(path, "team/digits") == second
  (line,) = messages(caplog)
  assert line.endswith("identifier of a run; the run gets a new one there")


def test_a_download_starts_over(tmp_path):
  readers_of_records._write_part(tmp_path)
  downloader = ResumingDownloader(tmp_path / "f.part", "f")
  assert downloader.validator(readers_of_records.URL) == '"tag"'
  for content in ("[", "[]", '{"url": 1}', '{"validator": "a\\nb"}'):
    (tmp_path / "f.part.json").write_text(content)
    assert downloader.validator(readers_of_records.URL) == ""


@pytest.mark.parametrize(
  ("name", "facts", "sentence"),
  [
    ("latents", {"scaling_factor": "1"}, r"\(scaling_factor is '1'\)"),
    ("latents", {"num_classes": 1.5}, r"\(num_classes is 1.5\)"),
    ("texts", {"encoder": None}, r"\(encoder is None\)"),
    ("pairs", {"seed": []}, r"\(seed is \[\]\)"),
    ("pairs", {"image_shape": [9, 9, 9], "dtype": "float32"}, "of its facts"),
    ("pairs", {"new": 1}, "unexpected keyword argument 'new'"),
  ],
)
def test_facts_of_a_manifest(name, facts, sentence, tmp_path):
  RECORD_READERS[name].write(tmp_path)
  path = tmp_path / "manifest.json"
  change(path, facts=json.loads(path.read_text())["facts"] | facts)
  with pytest.raises(UsageError, match=f"manifest.json is damaged.*{sentence}"):
    RECORD_READERS[name].read(tmp_path)


@pytest.mark.parametrize("name", ["../../label", "", "a" * 65])
def test_names_of_arrays_are_parts_of_names_of_files(name, tmp_path):
  RECORD_READERS["texts"].write(tmp_path)
  path = tmp_path / "manifest.json"
  arrays = json.loads(path.read_text())["arrays"]
  change(path, arrays={**arrays, name: arrays["image"]})
  with pytest.raises(UsageError, match=r"\(an array has the name '"):
    StoredTexts(tmp_path)


def test_a_page_with_a_broken_declaration():
  page = "<html><![- x --></html>"
  assert form_address(page, readers_of_records.URL) is None


def test_an_older_manifest_has_integers(tmp_path):
  RECORD_READERS["latents"].write(tmp_path)
  path = tmp_path / "manifest.json"
  facts = json.loads(path.read_text())["facts"] | {"scaling_factor": 1}
  change(path, facts=facts)
  assert LatentsSource(tmp_path).scaling_factor == 1


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"hidden_size": -1}, "hidden_size is -1; expected a value such as 768"),
    ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000; expected"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan; expected"),
    ({"num_attention_heads": 3}, "describes no possible network"),
  ],
)
def test_configs_of_no_network(changes, sentence, tmp_path):
  RECORD_READERS["text-encoder"].write(tmp_path)
  change(tmp_path / "config.json", **changes)
  with pytest.raises(UsageError, match=f"config.json:? {sentence}"):
    load_text_encoder(tmp_path)


def test_a_tokenizer_of_another_encoder(tmp_path):
  pytest.importorskip("transformers")
  RECORD_READERS["text-encoder"].write(tmp_path)
  readers_of_libraries._write_vocabulary(tmp_path)
  with pytest.raises(UsageError, match="has the token 7[0-9]; expected fewer"):
    encode_captions([["a cat"]], str(tmp_path), str(tmp_path / "texts"))
  np.testing.assert_equal(list((tmp_path / "texts").glob("*.npy")), [])

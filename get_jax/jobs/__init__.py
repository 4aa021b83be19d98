"""Jobs on a workdir that several modes share: train, make pairs, measure."""

__all__ = [
  "captions",
  "data_info",
  "durations",
  "initial_params",
  "latents",
  "local_batches",
  "measure",
  "metric_writer",
  "missing_shards",
  "official_pairs",
  "pairs",
  "report",
  "report_charts",
  "report_page",
  "report_tables",
  "run_info",
  "run_status",
  "samples",
  "train",
]

"""Jobs on a workdir that several modes share: train, make pairs, measure."""

__all__ = [
  "captions",
  "latents",
  "local_batches",
  "measure",
  "missing_shards",
  "official_pairs",
  "pairs",
  "report",
  "run_info",
  "samples",
  "train",
]

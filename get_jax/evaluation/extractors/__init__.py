"""Feature extractors: what the scores measure images with."""

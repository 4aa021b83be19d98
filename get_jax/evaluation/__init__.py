"""Feature extractors and scores of sample quality."""

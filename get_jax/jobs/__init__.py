"""Jobs on a workdir that modes run and share: train, make pairs, encode, measure, report."""

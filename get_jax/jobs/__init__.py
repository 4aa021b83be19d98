"""Jobs on a workdir, shared by modes: train, make pairs, encode, measure."""

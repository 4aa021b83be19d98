"""Sources of records and the step-indexed pipeline."""

"""Run the trials of a study: choose batches, start workers, store and reuse records."""

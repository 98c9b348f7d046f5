"""Execution of a study's trials: plan batches, run workers, store and reuse records."""

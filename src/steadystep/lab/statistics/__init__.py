"""The statistics of a study: intervals, verdicts, convergence times and summaries."""

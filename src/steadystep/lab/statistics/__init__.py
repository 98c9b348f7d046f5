"""Intervals, verdicts, convergence times and summaries, computed from records."""

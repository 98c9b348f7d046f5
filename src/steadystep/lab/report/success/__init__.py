"""The report of a measurement of success rates."""

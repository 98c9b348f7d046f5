"""The report of a sweep of learning rates."""

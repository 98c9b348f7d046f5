"""The doctor: replay a run with one factor swapped, and name a culprit only if the swap decides the outcome."""

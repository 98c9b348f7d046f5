"""The report of the cost of optimizers and clippers."""

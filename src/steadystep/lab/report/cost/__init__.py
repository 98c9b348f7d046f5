"""The report of what optimizers and clippers cost."""

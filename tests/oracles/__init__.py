"""Comparison with the optimizers of other libraries: `make oracles`."""

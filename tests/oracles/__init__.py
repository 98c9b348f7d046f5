"""What other libraries make of the same gradients: `make oracles`."""

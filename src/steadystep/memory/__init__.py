"""What a kernel may touch: which tensors own their memory, how it is laid out, and whether it is still the same."""

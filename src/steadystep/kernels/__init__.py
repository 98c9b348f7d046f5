"""Backends that run any rule over many tensors. The eager one works on every device and dtype."""

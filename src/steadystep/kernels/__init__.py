"""Backends that apply an update rule to many tensors. The eager backend works on every device and dtype."""

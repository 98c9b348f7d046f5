"""Run any rule over many tensors. The eager backend always works, on any device and dtype."""

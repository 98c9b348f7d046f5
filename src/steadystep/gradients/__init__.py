"""The gradients of a step: which tensors they belong to, and how they are sharded over ranks."""

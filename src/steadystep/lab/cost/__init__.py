"""The time and memory that optimizers and clippers add to a training step."""

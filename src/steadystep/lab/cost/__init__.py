"""What optimizers and clippers take of a training step, in time and memory."""

"""Training of one trial: the training loop, checkpoints, evaluation, and the record of the result."""

"""One trial: train a model, checkpoint it, evaluate it, and make its record."""

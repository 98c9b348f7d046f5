"""Many trials of one arm trained as one batched model: seeds, learning rates, betas and thresholds side by side."""

"""Which learning rates an optimizer bears, with clipping and without: sweeps, and what they say."""

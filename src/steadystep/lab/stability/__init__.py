"""Learning-rate sweeps that measure at which learning rates an optimizer is stable, with and without clipping."""

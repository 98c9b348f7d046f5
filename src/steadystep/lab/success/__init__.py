"""How often a training run solves a problem at all, against the length of its sequences."""

"""Operating-system support for the lab: atomic file writes, a fork server, heap settings."""

"""The programs in which failures are planted: each an architecture with its data, loss and sound settings."""

"""How fast the clipped step is, against what else there is and against what the memory can do: `make bench`."""

"""Benchmark the clipped optimizer step against other implementations and the memory bandwidth: `make bench`."""

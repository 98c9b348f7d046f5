"""Compiled kernels of the replicas: operations, matrix products, fusion, the clipped step."""

"""Compiled code for the replicas: tracing, fusion, elementwise operations, matrix products and the clipped step."""

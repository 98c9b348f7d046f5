"""Doctests are collected from what can be imported: what runs on CUDA needs Triton, which not every platform has."""

from importlib.util import find_spec

NEED_TRITON = ["src/steadystep/kernels/cuda/*.py", "benchmarks/cuda_streaming.py"]
collect_ignore_glob = [] if find_spec("triton") else NEED_TRITON

"""Doctests are collected from what can be imported: the CUDA backend needs Triton, which not every platform has."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["src/steadystep/kernels/cuda/*.py"]

"""Doctests are collected from what can be imported: what runs on CUDA needs Triton, and each adapter its trainer."""

from importlib.util import find_spec

NEEDS = {
    "triton": ["src/steadystep/kernels/cuda/*.py", "benchmarks/cuda_streaming.py"],
    "lightning": ["src/steadystep/integrations/lightning*.py"],
    "accelerate": ["src/steadystep/integrations/accelerate*.py", "src/steadystep/integrations/transformers*.py"],
    "transformers": ["src/steadystep/integrations/transformers*.py"],
}
collect_ignore_glob = [path for package, paths in NEEDS.items() if find_spec(package) is None for path in paths]

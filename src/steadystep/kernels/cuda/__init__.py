"""The Triton backend: rules compiled for CUDA, one kernel over all tensors of a step, nothing read back.

Nothing here is imported before the first step on a device: a CPU needs no Triton.
"""

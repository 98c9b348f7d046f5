"""The Triton backend, with rules compiled to one CUDA kernel over all tensors of a step. Nothing is read back.

Nothing here is imported before the first step on a GPU: a CPU needs no Triton.
"""

"""The Numba backend, which compiles rules for the CPU and makes one pass over all tensors of a step.

Nothing here is imported before the first step that needs it: importing Numba takes as long as many steps.
"""

"""The Numba backend: rules compiled for the CPU, with one pass over all tensors of a step.

Nothing here is imported before the first step that needs it: importing Numba takes as long as many steps.
"""

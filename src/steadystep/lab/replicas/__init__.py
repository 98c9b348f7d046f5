"""Many trials of one arm trained side by side: seeds, learning rates, betas and thresholds of their own.

A step of a small network is little work and many decisions: which operations, which shapes, where in memory. They are
made once. `traced` finds the operations of a step for a few replicas at once, `fused` makes one of those between
products of matrices, `plan` gives each its memory, and `program` does them in one compiled call. `desk` is that for as
many replicas as a core's cache holds, `feeding` brings their examples, `clipped_step` takes their step, and `training`
has them there in turns.
"""

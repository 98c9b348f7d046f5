"""Train many trials of one arm side by side. They may differ in seed, learning rate, betas and clipping threshold.

A step of a small network is little arithmetic and much overhead: choosing operations, finding shapes, allocating
memory. This package does that work once instead of in every step:

- `compiled.fx_trace` traces the operations of a step for a few replicas at once;
- `compiled.fusion` fuses the operations between two matrix products into one;
- `compiled.executable` assigns memory to each operation;
- `compiled.program` runs many operations in one compiled call;
- `compiled.clipped_step` clips the gradients and applies the optimizer's rule;
- `workspace` holds all of this for as many replicas as fit into a core's cache;
- `batch_sampler` loads their examples;
- `trainer` trains all replicas, one group after the other in short turns.
"""

"""The scalars of a step: the operations that rules and clippers use, and the graph that records them."""

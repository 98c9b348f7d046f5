"""The verdict on a step, and access to the numbers that a step keeps in memory.

A step runs in one of three ways: on Python numbers, if everything is on a CPU; on tensors, if an accelerator holds the
numbers, and nothing is read back; and on the nodes of a graph, while it is captured. This file is the only one that
tells the three apart.
"""

from collections.abc import Callable, Sequence

import torch

from steadystep.tracing.graph import Graph, graph_of
from steadystep.tracing.ops import Number, where


class Verdict:
    """The decision whether a step is applied: a bool on the host, a tensor on an accelerator, or a node of a graph."""

    def __init__(self, accept: Number) -> None:
        self.accept = accept
        self.graph = graph_of(accept)

    @property
    def is_refused(self) -> bool:
        """Whether the host already knows that the step is refused; a verdict on an accelerator is not read."""
        return self.graph is None and not isinstance(self.accept, torch.Tensor) and not self.accept

    def withdraw(self) -> None:
        """Refuse a step after all, because its update has been taken back. The host has read the verdict before."""
        self.accept = False

    def on(self, device: torch.device) -> torch.Tensor | None:
        """Return the verdict as a tensor on this device, or None if the host knows it."""
        return self.accept.to(device) if isinstance(self.accept, torch.Tensor) else None

    def load(self, tensor: torch.Tensor) -> Number:
        """Read a stored number or vector."""
        return load(tensor, self.graph)

    def load_first(self, vector: torch.Tensor) -> Number:
        """Read the first entry of a stored vector."""
        if self.graph is not None:
            return self.graph.load(vector)
        return vector.numpy()[0].item() if vector.is_cpu else vector[0].double()

    def fill(self, vector: torch.Tensor, value: Number) -> None:
        """Replace all entries of a stored vector by one value if the step is applied."""
        if self.graph is None:
            self.store(vector, value)
        else:
            self.graph.fill(vector, where(self.accept, value, self.graph.load(vector)))

    def take(self, flag: torch.Tensor) -> Number:
        """Read a stored number and set it to 0, whether the step is applied or not."""
        value = load(flag.clone() if self.graph is None else flag, self.graph)
        if self.graph is None:
            flag.zero_()
        else:
            self.graph.store(flag, 0.0)
        return value

    def store(self, tensor: torch.Tensor, value: Number) -> None:
        """Replace a stored number or vector if the step is applied."""
        store(tensor, value, self.accept, self.graph)

    def write(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """Replace the content of a tensor if the step is applied; call this only if `is_refused` is False."""
        accept = self.on(tensor.device)
        if accept is None:
            tensor.copy_(value)
        else:  # selected, never multiplied by 0: 0 * NaN is NaN
            torch.where(accept, value.to(tensor.dtype), tensor, out=tensor)

    def call_after(self, action: Callable[[], None]) -> None:
        """Call `action` once the step has been computed: now, or after each evaluation of the graph."""
        if self.graph is None:
            action()
        else:
            self.graph.callbacks.append(action)


def load(tensor: torch.Tensor, graph: Graph | None = None) -> Number:
    """Read a stored number or vector: a Python number or a NumPy array on a CPU, a tensor elsewhere, or a node."""
    if graph is not None:
        return graph.load_all(tensor)
    if not tensor.is_cpu:
        return tensor.double()
    return tensor.numpy() if tensor.dim() else tensor.item()


def store(tensor: torch.Tensor, value: Number, when: Number, graph: Graph | None = None) -> None:
    """Replace a stored number or vector where `when` is true."""
    if graph is not None:
        graph.store(tensor, where(when, value, graph.load_all(tensor)), -tensor.dim())
    elif isinstance(when, torch.Tensor):
        new = torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
        torch.where(when.to(tensor.device), new, tensor, out=tensor)
    elif when and tensor.is_cpu:
        tensor.numpy()[...] = value
    elif when:
        tensor.copy_(value) if isinstance(value, torch.Tensor) else tensor.fill_(value)


def load_entries(vector: torch.Tensor, graph: Graph | None = None) -> list[Number]:
    """Read the entries of a vector as separate numbers: Python numbers on a CPU, tensors elsewhere, or nodes."""
    if graph is not None:
        return [graph.load(vector, place) for place in range(len(vector))]
    return vector.tolist() if vector.is_cpu else list(vector.unbind())


def store_entries(vector: torch.Tensor, entries: Sequence[Number], graph: Graph | None = None) -> None:
    """Replace the entries of a vector."""
    if graph is not None:
        for place, entry in enumerate(entries):
            graph.store(vector, entry, place)
    elif vector.is_cpu:
        vector.numpy()[:] = entries
    else:
        vector.copy_(torch.stack([torch.as_tensor(x, dtype=vector.dtype, device=vector.device) for x in entries]))

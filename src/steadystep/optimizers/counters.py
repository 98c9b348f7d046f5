"""The counters of parameters that step together: one vector each, of which every parameter's state shows an entry.

A step reads one entry and writes them all, so the parameters share the scalars of their step. What is done to the state
of one parameter from outside does not touch the others: its entry then differs, and the parameters are grouped anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from steadystep.rule import STEP
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict

__all__ = ["STEP", "Counters"]


class Counters:
    """The step count, in float32 as in torch.optim, and the rule's counters, in float64, of some parameters.

    Args:
        entries: the state of each parameter. Its counters become views of the vectors made here.
        names: of the rule's counters.
        device: where the parameters are.
    """

    def __init__(self, entries: Sequence[dict[str, Any]], names: Sequence[str], device: torch.device) -> None:
        self._vectors: dict[str, torch.Tensor] = {}
        for name in (STEP, *names):
            dtype = torch.float32 if name == STEP else torch.float64
            first = entries[0][name]
            vector = torch.empty(len(entries), dtype=dtype, device=device)
            vector.copy_(first.reshape(())) if isinstance(first, torch.Tensor) else vector.fill_(float(first))
            self._vectors[name] = vector
            for entry, view in zip(entries, vector.unbind(), strict=True):
                entry[name] = view
        self.on_cpu = device.type == "cpu"
        self._memories = [vector.numpy() for vector in self._vectors.values()] if self.on_cpu else []
        self._shown = [[entry[name] for name in self._vectors] for entry in entries]
        self._versions = self._read_versions()

    def belong_to(self, entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
        """Return whether these are the counters of these parameters, of no others, and by these names."""
        if len(entries) != len(self._shown) or set(self._vectors) != {STEP, *names}:
            return False
        return all(
            all(entry.get(name) is view for name, view in zip(self._vectors, views, strict=True))
            for entry, views in zip(entries, self._shown, strict=True)
        )

    def agree(self) -> bool:
        """Return whether all parameters still have the same counts.

        An accelerator is not read: there, torch's own count of the writes to a tensor tells of those from outside.
        """
        if self.on_cpu:
            return all(map(_is_uniform, self._memories))
        return self._read_versions() == self._versions

    def identities(self) -> list[int]:
        """Return the identities of the step counts that the parameters' state shows."""
        return [id(views[0]) for views in self._shown]

    def load(self, verdict: Verdict) -> dict[str, Number]:
        """Read the counters."""
        return {name: verdict.load_first(vector) for name, vector in self._vectors.items()}

    def store(self, values: Mapping[str, Number], verdict: Verdict) -> None:
        """Replace the counters of all parameters if the step is applied."""
        for name, vector in self._vectors.items():
            verdict.fill(vector, values[name])
        self._versions = self._read_versions()  # which count what torch's own operations have just written

    def _read_versions(self) -> list[int] | None:
        vectors = self._vectors.values()
        if self.on_cpu or any(vector.is_inference() for vector in vectors):  # which torch does not count
            return None
        return [vector._version for vector in vectors]


def _is_uniform(memory: np.ndarray) -> bool:
    """Return whether all entries of a vector have the same bits."""
    content = memory.tobytes()
    return content == content[: memory.itemsize] * len(memory)

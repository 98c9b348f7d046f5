"""What a plan was made from. This is the only place that decides whether a plan still holds."""

from collections.abc import Mapping, MutableMapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import torch

from steadystep.kernels.update import Update
from steadystep.memory.access import owns_memory
from steadystep.memory.fingerprint import step_memory
from steadystep.memory.overlap import Overlap
from steadystep.optimizers.counters import Counters

Groups = Sequence[MutableMapping[str, Any]]
State = MutableMapping[torch.Tensor, dict[str, Any]]


def _names_of(group: Mapping[str, Any]) -> list[str]:
    return [*(group.get("param_names") or ())]


class PlanInputs:
    """The groups, the state and the memory that a plan was made from.

    Objects are compared by identity and in order: looking a tensor up in a dictionary takes ten times as long. Their
    memory is compared by its location, because a tensor can get another one without becoming another object. The
    gradients must be of the kind that can be renewed.
    """

    def __init__(
        self,
        param_groups: Groups,
        state: State,
        updates: Sequence[Update],
        overlap: Overlap,
        counters: Sequence[Counters],
    ) -> None:
        self._groups = list(param_groups)
        self._param_names = list(map(_names_of, param_groups))
        self._keys, self._states = list(state), list(state.values())
        self._names = list(map(list, self._states))
        self._values = list(chain.from_iterable(map(dict.values, self._states)))
        self._counters = counters
        self._gradients = updates[0].gradients
        written = [tensor for update in updates for tensor in (update.parameter, *update.state)]
        self._memory = step_memory(list(filter(owns_memory, written)), self._gradients.gradients)
        self._overlap = overlap

    def hold(self, param_groups: Groups, state: State) -> bool:
        """Take the current gradients, and return whether nothing else differs from what the plan was made from."""
        return (
            len(param_groups) == len(self._groups)
            and all(map(is_, param_groups, self._groups))
            and list(map(_names_of, param_groups)) == self._param_names
            and self._gradients.renew(param_groups)
            and self._state_holds(state)
            and self._memory_holds()
        )

    def _state_holds(self, state: Mapping[torch.Tensor, dict[str, Any]]) -> bool:
        return (
            len(state) == len(self._states)
            and all(map(is_, state, self._keys))
            and all(map(is_, state.values(), self._states))
            and list(map(list, self._states)) == self._names
            and all(map(is_, chain.from_iterable(map(dict.values, self._states)), self._values))
            and all(map(Counters.agree, self._counters))
        )

    def _memory_holds(self) -> bool:
        """Return whether all memory is as it was, and no gradient has moved into or out of what the step writes."""
        memory = self._memory
        if not memory.holds(self._gradients.gradients):
            return False
        if memory.moved and (self._overlap.shared or self._overlap.gradients_touch(memory.addresses)):
            return False
        self._gradients.addresses = memory.addresses
        return True

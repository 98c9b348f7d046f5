"""Checkpoints in the format of the torch.optim optimizer of the same name."""

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from steadystep.optimizers.arguments import base_lr
from steadystep.optimizers.param_set import restored_counters, state_dtype
from steadystep.rule import Rule


class Checkpointed(torch.optim.Optimizer):
    """An optimizer whose checkpoints travel to torch.optim's optimizer of the same name, and back."""

    variants: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        """Return the update rule selected by the options of a parameter group."""

    @abstractmethod
    def _forget_steps(self) -> None:
        """Discard everything that was derived from the state that is being replaced."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state in the format of the torch.optim optimizer of the same name, with the ledger."""
        saved = super().state_dict()
        # Parameters that step together share a counter, which torch would advance once for each of them.
        saved["state"] = {
            key: {name: _copy_of_counter(value) for name, value in state.items()} if isinstance(state, dict) else state
            for key, state in saved["state"].items()
        }
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume, bit for bit, from a `state_dict` of this optimizer or of the torch.optim optimizer of the same name.

        Nothing of `state_dict` is shared with the optimizer afterwards.
        """
        final: list[dict[str, Any]] = []  # what the user's pre-hooks made of it; the user's post-hooks come after ours
        before = self.register_load_state_dict_pre_hook(lambda _, loaded: final.append(loaded))
        after = self.register_load_state_dict_post_hook(lambda _: self._restore(final[0]), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _restore(self, state_dict: Mapping[str, Any]) -> None:
        """Replace the state that torch loaded with the saved state, and add what a checkpoint of torch.optim lacks.

        torch casts state to the dtype of the parameter, which would round the moments of half precision. Parameters
        with the same counts share their counters again.
        """
        entries = iter(
            [state_dict["state"].get(key, {}) for group in state_dict["param_groups"] for key in group["params"]]
        )
        for group in self.param_groups:
            group.setdefault("variant", self.variants[0])  # a checkpoint of torch.optim means torch's definition
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            group.setdefault("base_lr", base_lr(group))
            counters = ("step", *self.rule(group).counters)
            shared: dict[tuple[float | torch.device, ...], dict[str, torch.Tensor]] = {}
            for parameter in group["params"]:
                entry = next(entries)
                state = {
                    name: value.to(parameter.device, state_dtype(parameter), copy=True)
                    if isinstance(value, torch.Tensor)
                    else copy.deepcopy(value)
                    for name, value in entry.items()
                    if name not in counters and value is not None  # torch's SGD saves None where it has no momentum
                }
                if not state and "step" not in entry:
                    self.state.pop(parameter, None)
                    continue
                # torch's SGD counts no steps: with state it has taken at least one, and only the first is special.
                counts = [float(entry.get(name, 1.0)) for name in counters]
                key = (*counts, parameter.device)
                known = shared.setdefault(key, restored_counters(counters, counts, parameter.device))
                self.state[parameter] = {**known, **state}
        self._forget_steps()


def _copy_of_counter(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) and value.dim() == 0 else value

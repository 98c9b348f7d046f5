"""Checkpoints in the format of the torch.optim optimizer of the same name."""

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from steadystep.gradients.gradient_set import name_of
from steadystep.gradients.names import qualified_names
from steadystep.optimizers.arguments import base_lr, check_decay, check_group
from steadystep.optimizers.counters import STEP
from steadystep.optimizers.slots import check_counters, check_slot, slot_dtype, slots_of
from steadystep.rule import Range, Rule


class Checkpointed(torch.optim.Optimizer):
    """An optimizer whose checkpoints travel to torch.optim's optimizer of the same name, and back."""

    hyperparameters: ClassVar[Mapping[str, Range]]
    variants: ClassVar[tuple[str, ...]]
    _given_defaults: ClassVar[Mapping[str, Any]]

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

        Moments are converted to the `state_dtype` of this optimizer, whichever one the checkpoint was saved with.
        Nothing of `state_dict` is shared with the optimizer afterwards.

        Raises:
            ValueError: for state that does not fit its parameter, naming both; nothing has been changed then.
        """
        compact = [group["state_dtype"] for group in self.param_groups]
        final: list[dict[str, Any]] = []  # what the user's pre-hooks made of it; the user's post-hooks come after ours

        def check(_: Any, loaded: dict[str, Any]) -> None:
            self._check(loaded)
            final.append(loaded)

        before = self.register_load_state_dict_pre_hook(check)
        after = self.register_load_state_dict_post_hook(lambda _: self._restore(final[0], compact), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _check(self, state_dict: Mapping[str, Any]) -> None:
        """Raise an error unless the saved state of each parameter has its shape. torch checks the groups themselves."""
        groups = zip(self.param_groups, state_dict["param_groups"], qualified_names(self.param_groups), strict=False)
        for number, (group, saved, names) in enumerate(groups):
            options = {**group, "variant": self.variants[0], **saved}
            check_group(type(self).__name__, options, self.variants, self.hyperparameters, self._given_defaults)
            rule = self.rule(options)
            check_decay(type(self).__name__, saved, rule.decay)
            for position, (parameter, key) in enumerate(zip(group["params"], saved["params"], strict=False)):
                entry = state_dict["state"].get(key, {})
                name = name_of(number, position, parameter, names)
                for slot in slots_of(rule, saved.get("rounding", group["rounding"]), parameter):
                    if entry.get(slot) is not None:
                        check_slot(entry[slot], slot, parameter, name, any_device=True)
                check_counters(entry, rule, name, any(entry.get(slot) is not None for slot in rule.slots))

    def _restore(self, state_dict: Mapping[str, Any], compact: Sequence[str | None]) -> None:
        """Replace the state that torch loaded with the saved state, and add what a checkpoint of torch.optim lacks.

        torch casts state to the dtype of the parameter, which would round the moments of half precision.
        """
        entries = iter(
            [state_dict["state"].get(key, {}) for group in state_dict["param_groups"] for key in group["params"]]
        )
        for group, state_dtype in zip(self.param_groups, compact, strict=True):
            group["state_dtype"] = state_dtype
            group.setdefault("variant", self.variants[0])  # a checkpoint of torch.optim means torch's definition
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            group.setdefault("base_lr", base_lr(group))
            counters = (STEP, *self.rule(group).counters)
            for parameter in group["params"]:
                # torch's SGD saves None where it has no momentum.
                entry = {name: value for name, value in next(entries).items() if value is not None}
                state = {name: _restored(name, value, counters, group, parameter) for name, value in entry.items()}
                if state:
                    self.state[parameter] = state
                else:
                    self.state.pop(parameter, None)
        self._forget_steps()


def _restored(name: str, value: Any, counters: Sequence[str], group: Mapping[str, Any], parameter: torch.Tensor) -> Any:
    """Return a copy of an entry of saved state, on the device and in the precision of the parameter's state."""
    if name in counters:
        dtype = torch.float32 if name == STEP else torch.float64
        return torch.full((), float(value), dtype=dtype, device=parameter.device)
    if isinstance(value, torch.Tensor):
        return value.to(parameter.device, slot_dtype(name, group, parameter), copy=True)
    return copy.deepcopy(value)


def _copy_of_counter(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) and value.dim() == 0 else value

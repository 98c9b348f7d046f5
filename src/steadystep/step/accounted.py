"""What every guarded optimizer tells of its steps, and the names by which it calls its parameters."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from steadystep.arguments import described
from steadystep.step.fields import AT

_COUNTS = (
    "attempted",
    "applied",
    "skipped",
    "skipped_nonfinite",
    "skipped_overflow",
    "skipped_outlier",
    "skipped_loss",
    "consecutive_skips",
    "clipped",
    "clip_rate",
    "nonfinite_updates",
)
_NORMS = ("norm_before", "norm_after", "scale")


AfterStep = Callable[[BaseException | None], None]
"""Called after each step, with the error of a step that has failed, or None. A hook of torch would cost more time."""


class StepCounts(NamedTuple):
    """How many steps were attempted and applied so far, and the number of the last one that was skipped."""

    attempted: int = 0
    applied: int = 0
    last_skip: int = 0

    @property
    def refused(self) -> bool:
        """Whether the last step was attempted and not applied."""
        return 0 < self.attempted == self.last_skip


class Accounted(torch.optim.Optimizer):
    """An optimizer with a ledger."""

    _after_step: AfterStep | None = None

    @property
    @abstractmethod
    def ledger(self) -> dict[str, Any]:
        """The counts and norms of the steps so far."""

    @property
    def last_step_applied(self) -> bool:
        """Whether the last step was applied; False before the first one. Reading it waits for the device.

        >>> import torch, steadystep
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizer = steadystep.SGD([weight], lr=0.1)
        >>> weight.grad = torch.tensor([float("nan")])
        >>> optimizer.step()
        >>> optimizer.last_step_applied
        False
        """
        counts = self._step_counts()
        return counts.attempted > 0 and not counts.refused

    def metrics(self, prefix: str = "steadystep/", *, per_tensor: bool = True) -> dict[str, float]:
        """Return the ledger as a flat dict of floats, which any logger takes; this waits for the device.

        Norms are left out before the first step, and so are those of tensors that were not measured.

        Args:
            prefix: what each name begins with. Default ``"steadystep/"``.
            per_tensor: whether to include the norms of all tensors, as ``norm/NAME`` and ``update_norm/NAME``. Default
                True.

        >>> import torch, steadystep
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizer = steadystep.SGD([("weight", weight)], lr=0.1, clip=1.0)
        >>> weight.grad = torch.tensor([4.0])
        >>> optimizer.step()
        >>> metrics = optimizer.metrics("train/")
        >>> metrics["train/norm_before"], metrics["train/norm_after"], metrics["train/norm/weight"]
        (4.0, 1.0, 4.0)
        """
        ledger = self.ledger
        names = _COUNTS + (_NORMS if ledger["attempted"] else ())
        numbers = {name: float(ledger[name]) for name in names}
        if per_tensor:
            for kind in ("norm", "update_norm"):
                numbers.update((f"{kind}/{name}", float(norm)) for name, norm in ledger[f"{kind}s"].items())
        return {f"{prefix}{name}": number for name, number in numbers.items()}

    def name_parameters(self, model: nn.Module) -> None:
        """Give the parameters the names that they have in a model, for errors, the ledger and metrics.

        It does what ``model.named_parameters()`` does when the optimizer is made, afterwards. The name of a wrapper
        such as DistributedDataParallel is left out.

        Args:
            model: the model that has all parameters of this optimizer.

        Raises:
            TypeError: for anything but a module.
            ValueError: for a parameter that the model does not have.

        >>> import torch, steadystep
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = steadystep.Adam(model.parameters())
        >>> optimizer.name_parameters(model)
        >>> optimizer.param_groups[0]["param_names"]
        ['weight', 'bias']
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"name_parameters takes the model, and got {described(model)}")
        names = {param: name for name, param in _unwrapped(model).named_parameters()}
        named = []
        for number, group in enumerate(self.param_groups):
            for place, param in enumerate(group["params"]):
                if param not in names:
                    raise ValueError(
                        f"group {number}, tensor {place}, shape {tuple(param.shape)} is not a parameter of this "
                        f"{type(model).__name__}: give name_parameters the model that the optimizer trains"
                    )
            named.append([names[param] for param in group["params"]])
        for group, of_group in zip(self.param_groups, named, strict=True):
            group["param_names"] = of_group

    def _step_counts(self) -> StepCounts:
        """Return the counts of steps; this waits for the device, but reads less than the ledger."""
        stored = self.param_groups[0].get("ledger") if self.param_groups else None
        if stored is None:
            return StepCounts()
        entries = stored.tolist()
        return StepCounts(*(int(entries[AT[name]]) if AT[name] < len(entries) else 0 for name in StepCounts._fields))


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside the wrappers of torch that add a prefix to the names of its parameters."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner

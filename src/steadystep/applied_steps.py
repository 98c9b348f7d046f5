"""Schedulers, weight averages and hooks that do not count refused steps."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import nn

from steadystep.arguments import checked, described
from steadystep.step.accounted import Accounted, StepCounts

Target = TypeVar("Target", bound=Callable[..., Any] | Any)

_SEEN = "steadystep_seen"  # the entry in a scheduler's state_dict


@checked
def skip_aware(target: Target, optimizer: torch.optim.Optimizer | None = None) -> Target:
    """Return a scheduler, or a function, that holds still for steps which the optimizer has refused.

    A scheduler advances when its `step` is called, unless all steps of the optimizer since the call before were
    refused. So one that is stepped once an epoch is not held back by a single refusal. All else of the scheduler is as
    it was: it has its class and its attributes, and its state_dict also says what it has seen, so that a run resumes
    exactly.

    A function is called only if the last step was applied. That serves weight averages and hooks::

        update = steadystep.skip_aware(averaged.update_parameters, optimizer)
        optimizer.register_step_post_hook(steadystep.skip_aware(hook, optimizer))

    On an accelerator each call waits for the step's verdict.

    Args:
        target: a scheduler, or a function.
        optimizer: whose steps count, one of this package or guarded by it. Default None, that of the scheduler.

    Raises:
        TypeError: for anything else, and for an optimizer without a ledger.

    >>> import torch, steadystep
    >>> weight = torch.ones(1, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0)
    >>> scheduler = steadystep.skip_aware(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5))
    >>> for gradient in (1.0, float("nan"), 1.0):
    ...     weight.grad = torch.tensor([gradient])
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(scheduler.get_last_lr())
    [0.5]
    [0.5]
    [0.25]
    """
    steps = callable(getattr(target, "step", None)) and hasattr(target, "state_dict")
    if isinstance(target, nn.Module):
        raise TypeError(
            f"skip_aware takes a scheduler or a function, and got {described(target)}: for a weight average, give it "
            "averaged.update_parameters"
        )
    if isinstance(target, torch.optim.Optimizer) or not (steps or callable(target)):
        raise TypeError(f"skip_aware takes a scheduler or a function, and got {described(target)}")
    found = getattr(target, "optimizer", None) if optimizer is None and steps else optimizer
    if found is None:
        raise TypeError("skip_aware needs the optimizer whose steps count: skip_aware(function, optimizer)")
    accounted = required(found, "skip_aware")
    held: Any = target
    if not isinstance(target, _SkipAware):
        held = _SkipAware(target, accounted) if steps else _held(target, accounted)
    return held


def accounted_in(optimizer: Any) -> Accounted | None:
    """Return the optimizer with a ledger inside the wrappers of a trainer, the innermost one, or None."""
    found, seen = None, set[int]()
    while optimizer is not None and id(optimizer) not in seen:
        seen.add(id(optimizer))
        found = optimizer if isinstance(optimizer, Accounted) else found  # Lightning's wrapper looks like one too
        optimizer = getattr(optimizer, "optimizer", None)
    return found


def required(optimizer: Any, caller: str) -> Accounted:
    """Return the optimizer with a ledger inside the wrappers of a trainer.

    Raises:
        TypeError: if there is none, in the name of `caller`.
    """
    found = accounted_in(optimizer)
    if found is None:
        raise TypeError(
            f"{caller} needs an optimizer that can refuse a step, and got {described(optimizer)}: use one of "
            "steadystep, or steadystep.guard(optimizer) before its scheduler is made"
        )
    return found


def _held(function: Callable[..., Any], optimizer: Accounted) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options) if optimizer.last_step_applied else None

    return call


class _SkipAware:
    """A scheduler that holds still for refused steps, and is like the one inside it in everything else."""

    __slots__ = ("__weakref__", "_held", "_inner", "_seen", "_steps")

    _inner: Any
    _steps: Accounted
    _seen: StepCounts
    _held: bool

    def __init__(self, scheduler: Any, optimizer: Accounted) -> None:
        self._set(_inner=scheduler, _steps=optimizer, _seen=optimizer._step_counts(), _held=False)

    def _set(self, **own: Any) -> None:
        """Set attributes of this object; all others are those of the scheduler."""
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def step(self, *arguments: Any, **options: Any) -> Any:
        """Advance the scheduler, unless all steps since the last call were refused."""
        seen, now, held = self._seen, self._steps._step_counts(), self._held
        if now.attempted > seen.attempted:
            held = now.applied <= seen.applied
        elif now.attempted < seen.attempted:  # the optimizer went back to a checkpoint
            held = now.refused
        # Otherwise the same step counts again: accelerate calls once for each process.
        self._set(_seen=now, _held=held)
        return None if self._held else self._inner.step(*arguments, **options)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scheduler, and what it has seen of the optimizer's steps."""
        return {**self._inner.state_dict(), _SEEN: [*self._seen, self._held]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of a scheduler, of one that holds for refused steps or of a plain one."""
        state = dict(state_dict)
        seen = state.pop(_SEEN, None)
        *counts, held = seen or (*self._steps._step_counts(), False)
        self._set(_seen=StepCounts(*map(int, counts)), _held=bool(held))
        self._inner.load_state_dict(state)

    def __getattr__(self, name: str) -> Any:
        if name in _SkipAware.__slots__:  # while a copy is being made
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    def __repr__(self) -> str:
        return f"skip_aware({self._inner!r})"

    @property
    def __class__(self) -> type:  # type: ignore[override]  # trainers look for a scheduler by its class
        return type(self._inner)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._inner, self._steps, self._seen, self._held)


def _again(scheduler: Any, optimizer: Accounted, seen: StepCounts, held: bool) -> _SkipAware:
    made = _SkipAware(scheduler, optimizer)
    made._set(_seen=seen, _held=held)
    return made

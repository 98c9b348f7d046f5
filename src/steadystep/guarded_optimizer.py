"""The guarded step for any torch optimizer."""

import inspect
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import torch

from steadystep.clip_in_place import clippers_for_gradients, write_gradients
from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, clipper_memories
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.step import state as kept
from steadystep.step.guarded_step import (
    Nonfinite,
    Policy,
    SkipWatch,
    guarded_step,
    refuse_in_backward,
    scaler_of,
)
from steadystep.step.state import is_priming_step
from steadystep.tracing.ops import Number

AnyOptimizer = TypeVar("AnyOptimizer", bound=torch.optim.Optimizer)


def guard(
    optimizer: AnyOptimizer,
    clip: Clip = None,
    nonfinite: Nonfinite = "skip",
    max_consecutive_skips: int = 25,
    preserve_grad: bool = False,
) -> AnyOptimizer:
    """Give any torch optimizer the same measuring, clipping, refusing and ledger that the optimizers here have.

    The optimizer is changed in place and returned: its `step` refuses a gradient that is not finite, clips, and steps;
    `optimizer.ledger` counts. Clipped gradients are written to `.grad`, where the optimizer reads them. On an
    accelerator the verdict is read once per step. Clipper statistics and ledger travel in `state_dict`.

    Args:
        optimizer: any torch.optim.Optimizer that needs no closure to step. Guard it before making its scheduler.
        clip: None, a maximal global norm, a clipper, or a list of these. Default None.
        nonfinite: ``"skip"``, ``"raise"`` or ``"propagate"``. Default ``"skip"``.
        max_consecutive_skips: refused steps in a row before TooManySkipsError. Default 25.
        preserve_grad: put the gradients back as they were after the step. Default False.

    Raises:
        TypeError: for an optimizer that guards itself, is guarded already, already has a scheduler, or needs a closure.
        ValueError: for a clipper that needs to see the update, by name.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = steadystep.guard(torch.optim.SGD([weight], lr=1.0), clip=1.0)
    >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
    >>> optimizer.step()
    >>> weight.data, optimizer.ledger["norm_before"]
    (tensor([-0.6000, -0.8000]), 5.0)
    """
    clippers = clippers_for_gradients("guard", clip)
    policy = Policy(nonfinite, max_consecutive_skips)
    kind = type(optimizer)
    if hasattr(optimizer, "ledger"):
        raise TypeError(f"{kind.__name__} guards its own step: give it clip= and nonfinite= when it is made")
    if "step" in vars(optimizer):
        raise TypeError(
            f"a scheduler already wraps the step of this {kind.__name__}: guard it before making its scheduler"
        )
    closure = list(inspect.signature(kind.step).parameters.values())[1:2]
    if closure and closure[0].default is inspect.Parameter.empty:
        raise TypeError(
            f"{kind.__name__} needs a closure, with which it evaluates the model inside its step, many times: there is "
            "no one gradient to clip or refuse. Clip inside the closure, with steadystep.clip_gradients"
        )
    object.__setattr__(optimizer, "__class__", _guarded(kind))
    vars(optimizer).update(
        _clippers=clippers, _policy=policy, _preserve_grad=preserve_grad, _watch=SkipWatch(), _measured=None
    )
    return optimizer


class _Guarded(torch.optim.Optimizer):
    """What `guard` adds to an optimizer's class."""

    # A GradScaler then leaves the division by its scale to the step, which measures first.
    _step_supports_amp_scaling = True

    _clippers: tuple[Clipper, ...]
    _policy: Policy
    _preserve_grad: bool
    _watch: SkipWatch
    _measured: tuple[Sequence[str], Number] | None

    @property
    def ledger(self) -> dict[str, Any]:
        """What happened to every step so far; as `steadystep.Optimizer.ledger`."""
        return kept.read_ledger(self.param_groups[0], self._measured)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        refuse_in_backward(self._clippers)
        tensors = gather_gradients(self.param_groups, type(self).__name__)
        if not tensors.gradients:
            return loss
        owner: MutableMapping[str, Any] = self.param_groups[0]
        if not self.state and is_priming_step(self.param_groups, partial(measure, tensors)):
            kept.start(owner, self._clippers, tensors)
            super().step()
            return loss
        ledger = kept.ledger(owner, tensors.home)
        memories = clipper_memories(owner, self._clippers, tensors.count, tensors.home)
        scaler = scaler_of(self)
        if scaler is not None:
            _refuse_float16(tensors, type(self).__name__)
        step = super().step

        @torch.no_grad()
        def apply(transforms: Sequence[Transform], accept: Number, update_bound: float | None) -> Number:
            if not bool(accept):
                return False
            raw = [gradient.clone() for gradient in tensors.gradients] if self._preserve_grad and transforms else None
            write_gradients(tensors, transforms)
            with _without_scaler(self):
                step()
            for gradient, before in zip(tensors.gradients, raw or (), strict=False):
                gradient.copy_(before)
            return False

        measured = guarded_step(
            tensors,
            partial(measure, tensors),
            self._clippers,
            memories,
            self._policy,
            ledger,
            apply,
            self._watch,
            scaler and scaler.opened(),
        )
        self._measured = (tensors.names, measured.norms) if measured else None
        return loss

    # torch wraps the step of a class in its hooks, profiling and all; the optimizer's own step has them already.
    step.hooked = True  # type: ignore[attr-defined]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class is made at run time: a copy in another process makes it again, from the optimizer's own.
        return _blank, (type(self).__mro__[2],), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        own = {"_clippers": self._clippers, "_policy": self._policy, "_preserve_grad": self._preserve_grad}
        return {**super().__getstate__(), **own}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._watch, self._measured = SkipWatch(), None

    def __repr__(self) -> str:
        with kept.hidden(self.param_groups[0]):
            return super().__repr__()


@cache
def _guarded(kind: type[torch.optim.Optimizer]) -> type[_Guarded]:
    return type(f"Guarded{kind.__name__}", (_Guarded, kind), {})


def _blank(kind: type[torch.optim.Optimizer]) -> _Guarded:
    return object.__new__(_guarded(kind))


def _refuse_float16(tensors: GradientSet, who: str) -> None:
    for name, gradient in zip(tensors.names, tensors.gradients, strict=True):
        if gradient.dtype == torch.float16:
            raise ValueError(
                f"{who} cannot divide the float16 gradient of {name} by a GradScaler's scale: small elements would "
                "become 0. Keep the parameters in float32 under autocast, or use an optimizer of steadystep"
            )


@contextmanager
def _without_scaler(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Hide what a GradScaler left: the gradients are divided already, and a fused step would do it once more."""
    left = {name: vars(optimizer).pop(name) for name in ("grad_scale", "found_inf") if name in vars(optimizer)}
    try:
        yield
    finally:
        vars(optimizer).update(left)

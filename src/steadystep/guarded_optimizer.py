"""The guarded step for any torch optimizer."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import torch

from steadystep.clip_in_place import clippers_for_gradients, write_gradients
from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.step.guarded_step import (
    Guard,
    Nonfinite,
    Policy,
    SkipWatch,
    guarded_step,
    refuse_in_backward,
    scaler_of,
)
from steadystep.step.state import is_priming_step, read_ledger, step_state, user_options_only
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict

AnyOptimizer = TypeVar("AnyOptimizer", bound=torch.optim.Optimizer)


def guard(
    optimizer: AnyOptimizer,
    clip: Clip = None,
    nonfinite: Nonfinite = "skip",
    max_consecutive_skips: int = 25,
    preserve_grad: bool = False,
) -> AnyOptimizer:
    """Give any torch optimizer the clipping, guard and ledger of this package's optimizers.

    The optimizer is changed in place and returned: its `step` refuses a gradient that is not finite, clips, and steps;
    `optimizer.ledger` counts. Clipped gradients are written to `.grad`, where the optimizer reads them. On an
    accelerator the verdict is read once per step. Clipper statistics and ledger travel in `state_dict`.

    An optimizer whose update is not elementwise, such as Muon, SOAP or Shampoo, needs no dedicated support: guard it.

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
            f"{kind.__name__} needs a closure, with which it evaluates the model inside its step, many times: "
            "there is no single gradient to clip or refuse. Clip inside the closure, with steadystep.clip_gradients"
        )
    object.__setattr__(optimizer, "__class__", _guarded_class(kind))
    vars(optimizer).update(
        _clippers=clippers, _policy=policy, _preserve_grad=preserve_grad, _watch=SkipWatch(), _measured=None
    )
    return optimizer


class _Guarded(torch.optim.Optimizer):
    """The attributes and the step that `guard` adds to an optimizer's class."""

    # A GradScaler then leaves the division by its scale to the step, which measures first.
    _step_supports_amp_scaling = True

    _clippers: tuple[Clipper, ...]
    _policy: Policy
    _preserve_grad: bool
    _watch: SkipWatch
    _measured: tuple[Sequence[str], Number] | None

    @property
    def ledger(self) -> dict[str, Any]:
        """The counts and norms of the steps so far; see `steadystep.Optimizer.ledger`."""
        return read_ledger(self.param_groups[0], self._measured)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step of the guarded optimizer, or refuse it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        refuse_in_backward(self._clippers)
        gradients = gather_gradients(self.param_groups, type(self).__name__)
        if not gradients.gradients:
            return loss
        priming = not self.state and is_priming_step(self.param_groups, partial(measure, gradients))
        state = step_state(self.param_groups[0], self._clippers, gradients)
        if priming:
            super().step()
            return loss
        scaler = scaler_of(self)
        if scaler is not None:
            _refuse_float16(gradients, type(self).__name__)
        step = super().step

        @torch.no_grad()
        def apply(transforms: Sequence[Transform], verdict: Verdict, update_bound: float | None) -> Number:
            if not bool(verdict.accept):
                return False
            raw = [gradient.clone() for gradient in gradients.gradients] if self._preserve_grad and transforms else None
            write_gradients(gradients, transforms)
            with _without_scaler(self):
                step()
            for gradient, before in zip(gradients.gradients, raw or (), strict=False):
                gradient.copy_(before)
            return False

        guard = Guard(self._clippers, self._policy, self._watch)
        norms = guarded_step(gradients, partial(measure, gradients), apply, guard, state, scaler and scaler.read())
        self._measured = (gradients.names, norms.norms) if norms else None
        return loss

    # torch wraps the step of a class in its hooks and its profiler; the step of the guarded class has them already.
    step.hooked = True  # type: ignore[attr-defined]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class is made at run time: a copy in another process makes it again from the class of the optimizer.
        return _blank, (type(self).__mro__[2],), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        added = {"_clippers": self._clippers, "_policy": self._policy, "_preserve_grad": self._preserve_grad}
        return {**super().__getstate__(), **added}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._watch, self._measured = SkipWatch(), None

    def __repr__(self) -> str:
        with user_options_only(self.param_groups[0]):
            return super().__repr__()


@cache
def _guarded_class(kind: type[torch.optim.Optimizer]) -> type[_Guarded]:
    return type(f"Guarded{kind.__name__}", (_Guarded, kind), {})


def _blank(kind: type[torch.optim.Optimizer]) -> _Guarded:
    return object.__new__(_guarded_class(kind))


def _refuse_float16(gradients: GradientSet, optimizer: str) -> None:
    for name, gradient in zip(gradients.names, gradients.gradients, strict=True):
        if gradient.dtype == torch.float16:
            raise ValueError(
                f"{optimizer} cannot divide the float16 gradient of {name} by a GradScaler's scale: small elements "
                "would become 0. Keep the parameters in float32 under autocast, or use an optimizer of steadystep"
            )


@contextmanager
def _without_scaler(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Hide a GradScaler's scale from a fused step, which would divide by it a second time."""
    hidden = {name: vars(optimizer).pop(name) for name in ("grad_scale", "found_inf") if name in vars(optimizer)}
    try:
        yield
    finally:
        vars(optimizer).update(hidden)

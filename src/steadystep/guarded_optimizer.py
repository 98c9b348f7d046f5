"""The guarded step for any torch optimizer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import torch

from steadystep.arguments import checked, described
from steadystep.clip_in_place import clippers_for_gradients, write_gradients
from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, shown_clip
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet, gather_gradients, set_of
from steadystep.gradients.zero_redundancy import check_guardable, found_on_any_rank, refuse_inside_zero
from steadystep.kernels.dispatch import measure
from steadystep.step.accounted import Accounted
from steadystep.step.dynamo import is_traced, tracer, untraced
from steadystep.step.errors import NonFiniteUpdateError
from steadystep.step.fields import AT
from steadystep.step.foreign import refuse_unguardable, take_closure, take_loss
from steadystep.step.guarded_step import (
    Guard,
    Nonfinite,
    Policy,
    guarded_step,
    is_unguarded,
    refuse_in_backward,
    scaler_of,
)
from steadystep.step.ledger import count_nonfinite_update
from steadystep.step.loss import is_bad
from steadystep.step.raw_gradients import RawGradients
from steadystep.step.scaler_support import SCALER_ATTRIBUTES, ScalerSupport, forget_scale
from steadystep.step.snapshot import Snapshot
from steadystep.step.state import as_printed, is_priming_step, ledger_owner, read_ledger, step_state
from steadystep.step.trouble import first_of, looks_like
from steadystep.step.watch import StepWatch
from steadystep.step.written import Written
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict

AnyOptimizer = TypeVar("AnyOptimizer", bound=torch.optim.Optimizer)


@checked
def guard(
    optimizer: AnyOptimizer,
    clip: Clip = None,
    nonfinite: Nonfinite = "skip",
    max_consecutive_skips: int = 25,
    preserve_grad: bool = False,
    undo: bool = False,
    report_updates: bool = False,
) -> AnyOptimizer:
    """Give any torch optimizer the clipping, guard and ledger of this package's optimizers.

    The optimizer is changed in place and returned: its `step` refuses a gradient that is not finite, clips, and steps;
    `optimizer.ledger` counts. Clipped gradients are written to `.grad`, where the optimizer reads them. A step that
    fails leaves the gradients as they were. Clipper statistics and ledger travel in `state_dict`.

    The optimizer itself can write something that is not finite: an eps that is 0 in float16 divides by 0. So the
    parameters and the state are read after the step. What is not finite is counted as ``nonfinite_updates``, and the
    first time warned of; under ``nonfinite="raise"`` it is an error. With `undo` such a step is taken back. On an
    accelerator the host waits for the verdict on the gradients and for that on the update.

    An optimizer whose update is not elementwise, such as Muon, SOAP or Shampoo, needs no dedicated support: guard it.

    Args:
        optimizer: any torch.optim.Optimizer that needs no closure to step. Guard it before making its scheduler.
        clip: None, a maximal global norm, a clipper, or a list of these. Default None.
        nonfinite: ``"skip"``, ``"raise"`` or ``"propagate"``. Default ``"skip"``.
        max_consecutive_skips: refused steps in a row before TooManySkipsError. Default 25.
        preserve_grad: put the gradients back as they were after the step. Default False.
        undo: take a step back that wrote something not finite, or failed: parameters, state, options and gradients are
            again what they were, and the step counts as skipped. It copies them all before each step. Default False.
        report_updates: measure how far each parameter moved, as ``ledger["update_norms"]``. It copies the parameters
            before each step. Default False.

    Raises:
        TypeError: for anything but an optimizer; for one that guards itself, is guarded already, already has a
            scheduler, needs a closure, or takes sparse gradients only.
        ValueError: for a clipper that needs to see the update, by name.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = steadystep.guard(torch.optim.SGD([weight], lr=1.0), clip=1.0)
    >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
    >>> optimizer.step()
    >>> weight.data, optimizer.ledger["norm_before"]
    (tensor([-0.6000, -0.8000]), 5.0)
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"guard takes an optimizer, and got {described(optimizer)}: make one first, as in "
            "guard(torch.optim.Adam(model.parameters(), lr=1e-3), clip=1.0)"
        )
    clippers = clippers_for_gradients("guard", clip)
    policy = Policy(nonfinite, max_consecutive_skips)
    kind = type(optimizer)
    if hasattr(optimizer, "ledger"):
        raise TypeError(f"{kind.__name__} guards its own step: give it clip= and nonfinite= when it is made")
    if "step" in vars(optimizer):
        raise TypeError(
            f"a scheduler already wraps the step of this {kind.__name__}: guard it before making its scheduler"
        )
    check_guardable(optimizer)
    if undo or not is_unguarded(clippers, policy, None):
        refuse_inside_zero(kind.__name__)
    refuse_unguardable(kind)
    object.__setattr__(optimizer, "__class__", _guarded_class(kind))
    options = (clippers, policy, preserve_grad, undo, report_updates)
    vars(optimizer).update(_nothing_seen(), **dict(zip(_OPTIONS, options, strict=True)))
    return optimizer


class _Guarded(Accounted):
    """The attributes and the step that `guard` adds to an optimizer's class."""

    _step_supports_amp_scaling = ScalerSupport()

    _clippers: tuple[Clipper, ...]
    _policy: Policy
    _preserve_grad: bool
    _undo: bool = False
    _report_updates: bool = False
    _watch: StepWatch
    _measured: tuple[Sequence[str], Number] | None
    _peaks: tuple[Sequence[int], Number] | None = (
        None  # where they are among all parameters, and the largest magnitudes
    )
    _updates: tuple[Sequence[str], Number] | None = None
    _written: Written
    _owner: dict[str, Any] | None = None  # the parameter group that stores the ledger
    _stepping: bool = False  # whether the optimizer's own step is running, with its hooks

    @property
    def last_step_applied(self) -> bool:
        """Whether the last step was applied; in a hook of the optimizer's own step, True."""
        return self._stepping or super().last_step_applied

    @property
    def ledger(self) -> dict[str, Any]:
        """The counts and norms of the steps so far; see `steadystep.Optimizer.ledger`.

        ``nonfinite_updates`` counts the steps that wrote something not finite; with ``undo=True`` they are also among
        the skipped ones. ``update_norms`` are the sizes of the last update by name, if they were asked for.
        """
        updates = {} if self._updates is None else dict(zip(self._updates[0], self._updates[1].tolist(), strict=True))
        self._owner = ledger_owner(self.param_groups, self._owner)
        return read_ledger(self._owner or {}, self.param_groups, self._measured, updates)

    def step(self, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
        """Take one step of the guarded optimizer, or refuse it.

        The optimizer gets all arguments but the closure, and but `loss` unless its own step has a `loss`: the loss of
        this step, which is refused if it is not finite; see `steadystep.Optimizer.step`.

        Returns:
            What the closure returns, or without a closure what the optimizer's step does.
        """
        if is_traced() or tracer():
            return self._untraced_step(*arguments, **options)
        try:
            kind = type(self).__bases__[1]
            loss, options = take_loss(kind, options)
            closure, arguments, options = take_closure(kind, arguments, options)
            evaluated = None
            if closure is not None:
                with torch.enable_grad():
                    evaluated = closure()
            result = self._guarded_step(partial(super().step, *arguments, **options), loss)
        except BaseException as error:
            forget_scale(self)
            if self._after_step is not None:
                self._after_step(error)
            raise
        if self._after_step is not None:
            self._after_step(None)
        return result if closure is None else evaluated

    # torch wraps the step of a class in its hooks and its profiler; the step of the guarded class has them already.
    step.hooked = True  # type: ignore[attr-defined]
    _untraced_step = untraced(step)

    def _guarded_step(self, step: Callable[[], Any], loss: Any) -> Any:
        """Take a step, or refuse it; return what it returns, or None."""
        refuse_in_backward(self._clippers)
        scaler, name = scaler_of(self), type(self).__name__
        unguarded = is_unguarded(self._clippers, self._policy, scaler)
        measured = self._undo or self._report_updates or not unguarded
        gradients = gather_gradients(self.param_groups, name, measured, once=True)
        if not gradients.gradients:
            return None
        priming = not self.state and is_priming_step(self.param_groups, partial(measure, gradients))
        self._owner = ledger_owner(self.param_groups, self._owner)
        assert self._owner is not None, "there are gradients, and so there are groups"
        state = step_state(self._owner, self._clippers, gradients)
        if priming:
            return step()
        if scaler is not None:
            _refuse_float16(gradients, name)
        bad_loss = is_bad(loss, self._policy, gradients.home)
        guard = Guard(self._clippers, self._policy, self._watch)
        inner = _InnerStep(self, step, gradients, state.ledger)
        norms = guarded_step(
            gradients, partial(measure, gradients), inner.apply, guard, state, scaler and scaler.read(), bad_loss
        )
        self._measured = (gradients.names, norms.norms) if norms else None
        self._peaks = (gradients.positions, norms.abs_max) if norms else None
        if inner.nonfinite and not self._undo and self._policy.nonfinite == "skip":
            self._watch.warn_once("update", inner.message())
        return inner.result

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class is made at run time: a copy in another process makes it again from the class of the optimizer.
        return _blank, (type(self).__bases__[1],), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        added = {name: getattr(self, name) for name in _OPTIONS}
        return {**super().__getstate__(), **added}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        vars(self).update(_nothing_seen())

    def __repr__(self) -> str:
        guard = {"clip": shown_clip(self._clippers), "nonfinite": repr(self._policy.nonfinite), "undo": self._undo}
        with as_printed(self.param_groups, guard):
            return super().__repr__()


_OPTIONS = ("_clippers", "_policy", "_preserve_grad", "_undo", "_report_updates")


def _nothing_seen() -> dict[str, Any]:
    """Return the attributes of a guarded optimizer that are not saved, as they are before its first step."""
    return {
        "_watch": StepWatch(),
        "_measured": None,
        "_peaks": None,
        "_after_step": None,
        "_updates": None,
        "_written": Written(),
        "_owner": None,
        "_stepping": False,
    }


_NO_STATE = frozenset((*_OPTIONS, *_nothing_seen(), "step", "_opt_called", *SCALER_ATTRIBUTES))
"""The attributes of a guarded optimizer that its own step does not change."""


class _InnerStep:
    """One step of the optimizer that is guarded, on gradients that have been accepted; without a trace if it fails."""

    def __init__(
        self, optimizer: _Guarded, step: Callable[[], Any], gradients: GradientSet, ledger: torch.Tensor
    ) -> None:
        self._optimizer, self._step, self._gradients, self._ledger = optimizer, step, gradients, ledger
        self.result: Any = None
        self.nonfinite: list[str] = []  # the names of what it has made not finite

    @torch.no_grad()
    def apply(self, transforms: Sequence[Transform], verdict: Verdict, update_bound: float | None) -> bool:
        """Clip the gradients, step, and look at what was written; refuse the step if that has to be undone."""
        optimizer, gradients = self._optimizer, self._gradients
        if not bool(verdict.accept):
            return False
        optimizer._written.look(optimizer)
        raw = RawGradients(gradients.parameters)
        if optimizer._preserve_grad or optimizer._undo:
            raw.keep_all()  # an optimizer may change them too
        before = Snapshot(optimizer, _NO_STATE) if optimizer._undo else None
        old = _copies(gradients, before) if optimizer._report_updates else None
        done = False
        try:
            write_gradients(gradients, transforms, keep=raw.keep)
            optimizer._stepping = True
            with _without_scaler(optimizer):
                self.result = self._step()
            self.nonfinite = found_on_any_rank(optimizer, optimizer._written.nonfinite(optimizer))
            if old is not None:
                optimizer._updates = gradients.names, _sizes(gradients, old)
            done = not self.nonfinite or before is None
            if self.nonfinite and optimizer._policy.nonfinite == "raise":
                done = False
                raise self._error()
        finally:
            optimizer._stepping = False
            if before is not None and not done:
                before.put_back()
                verdict.withdraw()
                self.result = None
            if optimizer._preserve_grad or not done:
                raw.put_back()
            if self.nonfinite:  # counted now, because the ledger has been put back too
                count_nonfinite_update(self._ledger, flags=())
        return False

    def _error(self) -> NonFiniteUpdateError:
        ledger = self._ledger.tolist()  # in which this step is not recorded yet
        step = 1 + int(ledger[AT["attempted"]])
        return NonFiniteUpdateError(self.message(), looks_like(ledger, "update"), step, self.nonfinite, "update")

    def message(self) -> str:
        """Return what the step has written and what to do about it, in one sentence."""
        names = first_of(self.nonfinite)
        end = (
            "parameters and state are as they were before it"
            if self._optimizer._undo
            else "with undo=True, guard takes such a step back"
        )
        return (
            f"the step of {type(self._optimizer).__name__} wrote values that are not finite, to {names}: {end}; "
            "a larger eps or a smaller learning rate may avoid it, and float32 parameters leave more room than float16"
        )


def _copies(gradients: GradientSet, before: Snapshot | None) -> list[torch.Tensor]:
    if before is not None:
        return [before.copy_of(parameter) for parameter in gradients.parameters]
    return [parameter.detach().clone() for parameter in gradients.parameters]


def _sizes(gradients: GradientSet, old: Sequence[torch.Tensor]) -> Number:
    """Return the Euclidean norm of what has been added to each parameter, in the order of their names."""
    new = [parameter.detach() for parameter in gradients.parameters]
    wide = [torch.promote_types(tensor.dtype, torch.float32) for tensor in new]
    changes = [after.to(dtype) - start.to(dtype) for after, start, dtype in zip(new, old, wide, strict=True)]
    return measure(set_of(changes)).norms


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
    hidden = {name: vars(optimizer).pop(name) for name in SCALER_ATTRIBUTES if name in vars(optimizer)}
    try:
        yield
    finally:
        vars(optimizer).update(hidden)

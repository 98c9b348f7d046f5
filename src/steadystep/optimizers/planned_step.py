"""The step of every optimizer: make or reuse a plan, then replay a captured step or take the guarded step."""

import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.norms import GradNorms
from steadystep.kernels.dispatch import measure
from steadystep.optimizers.hyperparameters import SCHEDULED
from steadystep.optimizers.plan import Plan, plan_step
from steadystep.rule import Rule
from steadystep.step.accounted import AfterStep
from steadystep.step.dynamo import is_traced, tracer, untraced
from steadystep.step.errors import NonFiniteUpdateError
from steadystep.step.fields import AT
from steadystep.step.guarded_step import (
    Guard,
    Measure,
    Policy,
    Scaler,
    guarded_step,
    is_unguarded,
    read_number,
    refuse_in_backward,
    scaler_of,
)
from steadystep.step.ledger import count_nonfinite_update
from steadystep.step.loss import is_bad
from steadystep.step.refusal import norms_by_name
from steadystep.step.scaler_support import ScalerSupport, forget_scale
from steadystep.step.state import ledger_owner, step_state
from steadystep.step.trouble import looks_like, nonfinite_update_message
from steadystep.step.watch import StepWatch
from steadystep.tracing.graph import Graph
from steadystep.tracing.ops import Number

_torch_hooks = sys.modules[torch.optim.Optimizer.__module__]  # the module with the hooks of all optimizers
_profiler_enabled: Callable[[], bool] = torch.autograd._profiler_enabled  # type: ignore[reportPrivateImportUsage]

_OF_THE_PLAN = frozenset(("params", "param_names"))
"""Entries of a parameter group that make another plan when they change; see `PlanInputs`."""


class PlannedStep(torch.optim.Optimizer):
    """An optimizer that takes its steps according to a plan."""

    _step_supports_amp_scaling = ScalerSupport()

    policy: Policy
    backend: str | None
    _clippers: tuple[Clipper, ...]
    _watch: StepWatch
    _plan: Plan | None
    _measured: tuple[Sequence[str], Number] | None  # the names and norms of the last measured gradients
    _peaks: Number | None = None  # and their largest magnitudes
    _after_step: AfterStep | None = None
    _owner: dict[str, Any] | None  # the parameter group that stores the ledger

    @classmethod
    @abstractmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        """Return the update rule selected by the options of a parameter group."""

    def step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:  # type: ignore[override]
        """Take one step, or refuse it. `.grad` is read and never written.

        Args:
            closure: evaluates the model again and returns the loss, which is then returned.
            loss: the loss of this step, a number or a tensor, which is refused if it is not finite: a loss of minus
                infinity can have finite gradients. With several ranks, all have to give theirs. Default None.

        Raises:
            NonFiniteGradientError: under ``nonfinite="raise"``, naming the tensors.
            NonFiniteLossError: under ``nonfinite="raise"``, for `loss`.
            TooManySkipsError: after more than `max_consecutive_skips` refusals in a row; on a GPU, for which no step
                waits, once the count has reached the host. Under a GradScaler the first 32 infinite steps in a row
                are its calibration, and do not count.
        """
        if is_traced() or tracer():
            return self._untraced_step(closure, loss=loss)
        arguments = () if closure is None else (closure,)
        options = {} if loss is None else {"loss": loss}
        try:
            result = (self._hooked_step if self._has_hooks() else self._step)(*arguments, **options)
        except BaseException as error:
            forget_scale(self)
            if self._after_step is not None:
                self._after_step(error)
            raise
        if self._after_step is not None:
            self._after_step(None)
        return result

    # torch would wrap every step in its hooks and its profiler, which take much of the time of a small model's step.
    step.hooked = True  # type: ignore[attr-defined]
    _untraced_step = untraced(step)

    def _step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        refuse_in_backward(self._clippers)
        with torch.set_grad_enabled(False):  # takes half the time of torch.no_grad()
            plan = self._plan
            if not (self.param_groups and self.param_groups[0] is self._owner):
                self._owner = ledger_owner(self.param_groups, self._owner)
            if plan is None or not plan.renew(self.param_groups, self.state):
                plan = self._plan = self._new_plan()
            if plan is not None:
                self._replay_or_take(plan, loss)
        return result

    _hooked_step = torch.optim.Optimizer.profile_hook_step(_step)

    def _replay_or_take(self, plan: Plan, loss: Any) -> None:
        """Replay the captured step if the capture is still valid, else take the guarded step; record the norms."""
        try:
            scaler = None if getattr(self, "found_inf", None) is None else scaler_of(self)
            bad_loss = is_bad(loss, self.policy, plan.gradients.home)
            captured, norms = plan.captured, None
            if captured is not None and captured.enabled:
                scaler = scaler and Scaler(*(captured.hold(name, number) for name, number in scaler._asdict().items()))
                bad_loss = captured.hold("bad_loss", bad_loss)
                norms = captured.replay_or_none(self._inputs(scaler, bad_loss))
                self._peaks = _unscaled(captured.peaks, scaler)
            if norms is None:
                self._check_options()
                if not plan.follows(self.param_groups, self.rule):
                    plan = self._plan = self._new_plan() or plan
                norms = self._take(plan, scaler, bad_loss)
            self._measured = None if norms is None else (plan.gradients.names, norms)
            if plan.wrote_nonfinite(self.policy.nonfinite == "raise"):
                self._tell_of_update(plan)
        finally:
            plan.gradients.release()

    def _tell_of_update(self, plan: Plan) -> None:
        """Count an update that wrote something that is not finite, and raise an error or warn once, naming the tensors.

        Raises:
            NonFiniteUpdateError: under ``nonfinite="raise"``.
        """
        count_nonfinite_update(self.param_groups[0]["ledger"], plan.flags)
        names = plan.names_of_nonfinite()
        message = nonfinite_update_message(type(self).__name__, names)
        if self.policy.nonfinite == "raise":
            ledger = self.param_groups[0]["ledger"].tolist()
            norms = {} if self._measured is None else norms_by_name(*self._measured)
            step = int(ledger[AT["attempted"]])
            raise NonFiniteUpdateError(message, looks_like(ledger, "update"), step, names, "update", norms)
        if self.policy.nonfinite == "skip":
            self._watch.warn_once("update", message)

    def _take(self, plan: Plan, scaler: Scaler | None, bad_loss: Number) -> Number:
        """Take the guarded step, capture it if that is worthwhile, and return the norms of the gradients."""
        guard = Guard(self._clippers, self.policy, self._watch)

        def take(graph: Graph | None, measure: Measure) -> GradNorms | None:
            state = step_state(self.param_groups[0], self._clippers, plan.gradients)._replace(flags=plan.flags)
            return guarded_step(
                plan.gradients,
                measure,
                plan.apply,
                guard,
                state,
                scaler and scaler.read(graph),
                read_number(bad_loss, graph),
            )

        captured = plan.captured
        if captured is not None and captured.enabled and not is_unguarded(self._clippers, self.policy, scaler):
            inputs = partial(self._inputs, scaler, bad_loss)
            norms = captured.capture_or_none(take, inputs) if captured.should_capture(inputs()) else None
            if norms is not None:
                self._peaks = _unscaled(captured.peaks, scaler)
                return norms
        measured = take(None, partial(measure, plan.gradients, backend=self.backend))
        self._peaks = measured and measured.abs_max
        return measured and measured.norms

    def _new_plan(self) -> Plan | None:
        self._check_options()
        name = type(self).__name__
        measured = not is_unguarded(self._clippers, self.policy, scaler_of(self))
        return plan_step(
            name, self.param_groups, self.rule, self.state, self._clippers, self.backend, measured, self._plan
        )

    def _check_options(self) -> None:
        """Raise a ValueError if an option that was set since the group was added is invalid."""
        raise NotImplementedError

    def _inputs(self, scaler: Scaler | None, bad_loss: Number) -> list[Any]:
        """Return everything that a step reads from Python, apart from its tensors and from what its plan compares."""
        values = [
            value
            for group in self.param_groups
            for name, value in group.items()
            if name not in _OF_THE_PLAN and not (name == SCHEDULED and isinstance(value, float))
        ]
        return [*values, self.policy, *self._clippers, self.backend, *(scaler or ()), bad_loss]

    def _has_hooks(self) -> bool:
        """Return whether the step has to call a hook or the profiler."""
        return bool(
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _torch_hooks._global_optimizer_pre_hooks
            or _torch_hooks._global_optimizer_post_hooks
            or _profiler_enabled()
        )


def _unscaled(peaks: Number, scaler: Scaler | None) -> Number:
    """Return largest magnitudes as they are when a GradScaler's scale is divided out."""
    return peaks if scaler is None else peaks / scaler.scale

"""The torch.optim.Optimizer under every optimizer: groups, state, clocks, checkpoints. The rules are elsewhere."""

import copy
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, ClassVar, TypedDict, Unpack, get_args

import numpy as np
import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, as_clippers, clipper_memories
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import gather_gradients
from steadystep.kernels import dispatch
from steadystep.kernels.capture import Written
from steadystep.kernels.dispatch import CapturedStep, check_backend
from steadystep.kernels.precision import Rounding
from steadystep.optimizers.param_set import SCHEDULED, state_dtype, step_counters
from steadystep.optimizers.plan import Plan, make_plan
from steadystep.rule import Range, Rule
from steadystep.step import state as kept
from steadystep.step.guarded_step import (
    Nonfinite,
    Policy,
    Scaler,
    SkipWatch,
    guarded_step,
    refuse_in_backward,
    scaler_of,
)
from steadystep.step.state import is_priming_step
from steadystep.tracing.graph import Graph, Untraceable
from steadystep.tracing.ops import Number

Params = Iterable[torch.Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, torch.Tensor]]


class Options(TypedDict, total=False):
    """What every optimizer takes besides its own hyperparameters."""

    variant: str | None  # which definition of the optimizer; None means its default, the first one
    maximize: bool  # climb instead of descend; default False
    clip: Clip  # None (default), a maximal global norm, a clipper, or a list of these applied in order
    nonfinite: Nonfinite  # "skip" (default), "raise" or "propagate", when a gradient is not finite
    max_consecutive_skips: int  # refused steps in a row before TooManySkipsError; default 25
    rounding: Rounding  # of half precision parameters: "nearest" (default), "stochastic" (bfloat16) or "kahan"
    backend: str | None  # "numba", "triton" or "eager"; None (default) is the fastest that can do it, for each tensor


_hooks = sys.modules[torch.optim.Optimizer.__module__]  # where torch keeps the hooks of all optimizers
_profiler_enabled: Callable[[], bool] = torch.autograd._profiler_enabled  # type: ignore[reportPrivateImportUsage]
_TORCH_ONLY = ("foreach", "fused", "capturable", "differentiable")


class Optimizer(torch.optim.Optimizer):
    """A torch.optim.Optimizer whose step measures, clips, guards and keeps a ledger.

    A subclass gives `hyperparameters`, the range of each; `variants`, the names of its definitions, the default
    first; and `rule`, which equation a parameter group follows.
    """

    _step_supports_amp_scaling = True  # a GradScaler then leaves the division by its scale to the step

    _clippers: tuple[Clipper, ...]
    _plan: Plan | None

    hyperparameters: ClassVar[Mapping[str, Range]]
    variants: ClassVar[tuple[str, ...]]

    def __init__(self, params: Params, defaults: dict[str, Any], **options: Unpack[Options]) -> None:
        _refuse_unknown(type(self).__name__, options)
        self.clip = options.get("clip")
        self.policy = Policy(options.get("nonfinite", "skip"), options.get("max_consecutive_skips", 25))
        self.backend = options.get("backend")
        check_backend(self.backend)
        self._watch = SkipWatch()
        self._measured: tuple[Sequence[str], Number] | None = None
        variant = options.get("variant") or self.variants[0]
        shared = {
            "maximize": options.get("maximize", False),
            "variant": variant,
            "rounding": options.get("rounding", "nearest"),
        }
        super().__init__(params, {name: _plain(value) for name, value in {**defaults, **shared}.items()})

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        """The update rule that a parameter group's options ask for."""
        raise NotImplementedError(f"{cls.__name__} has no rule")

    @property
    def clip(self) -> tuple[Clipper, ...]:
        """The clippers, in the order in which they are applied. It may be set to all that the argument may be."""
        return self._clippers

    @clip.setter
    def clip(self, clip: Clip) -> None:
        self._clippers = as_clippers(clip)
        self._plan = None

    @property
    def ledger(self) -> dict[str, Any]:
        """What happened to every step so far, as a plain dict of Python numbers; reading it waits for the device.

        ``attempted``, ``applied``, ``skipped`` and ``consecutive_skips`` count steps. A step is skipped for a gradient
        that is not finite (``skipped_nonfinite``), whose square overflows (``skipped_overflow``) or that a
        `SkipOutlier` refuses (``skipped_outlier``). ``clipped`` counts those applied with a gradient that a clipper
        changed, and ``clip_rate`` is its share of the applied ones. ``norm_before`` and ``norm_after`` are the last
        step's global gradient norms around clipping, ``scale`` their ratio, ``running_norm_*`` their exponential
        averages over applied steps, and ``norms`` the last norm of each tensor by its name.
        """
        return kept.read_ledger(self.param_groups[0], self._measured)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if isinstance(param_group, dict):  # what is none, torch refuses
            param_group.update({name: _plain(param_group[name]) for name in param_group.keys() - {"params"}})
            self._validate({**self.defaults, **param_group})
        super().add_param_group(param_group)
        self._plan = None
        # Schedulers overwrite lr; some rules need what it was at first, and it could not be guessed later.
        group = self.param_groups[-1]
        group.setdefault("base_lr", _base_lr(group))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step, or refuse it: measure, decide, apply. `.grad` is read and never written.

        Args:
            closure: evaluates the model again and returns the loss, which is then returned.

        Raises:
            NonFiniteGradientError: under ``nonfinite="raise"``, naming the tensors.
            TooManySkipsError: after more than `max_consecutive_skips` refusals in a row; on a GPU, for which no step
                waits, once the count has reached the host. Under a GradScaler the first 32 infinite steps in a row
                are its calibration, and do not count.
        """
        arguments = () if closure is None else (closure,)
        return self._seen_step(*arguments) if _is_watched(self) else self._step(*arguments)

    # torch would wrap every step in what hooks and the profiler need; for a small model that is much of the step.
    step.hooked = True  # type: ignore[attr-defined]

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        refuse_in_backward(self._clippers)
        with torch.set_grad_enabled(False):  # in half the time of torch.no_grad()
            plan = self._plan
            if plan is None or not plan.renew(self.param_groups, self.rule, self.state):
                plan = self._plan = self._make_plan()
            if plan is not None:
                self._step_as_planned(plan)
                plan.tensors.release()
        return loss

    _seen_step = torch.optim.Optimizer.profile_hook_step(_step)

    def _make_plan(self) -> Plan | None:
        """The plan for a step with the present gradients; None where there are none, or nothing is to be done."""
        tensors = gather_gradients(self.param_groups, type(self).__name__)
        if not tensors.gradients:
            return None
        fresh = not self.state
        bounded = any(isinstance(clipper, ClipUpdate) for clipper in self.clip)
        plan = make_plan(tensors, self.param_groups, self.rule, self.state, self.backend, bounded)
        if fresh and is_priming_step(self.param_groups, lambda: dispatch.measure(tensors, backend=self.backend)):
            kept.start(self.param_groups[0], self.clip, tensors)
            return None
        return plan

    def _step_as_planned(self, plan: Plan) -> None:
        scaler, deferral = scaler_of(self), plan.deferral
        if deferral is not None:
            at_hand = scaler and Scaler(deferral.at_hand(scaler.scale))
            inputs = self._inputs(at_hand)
            try:
                if deferral.is_worth_it(inputs):
                    self._step_deferred(plan, deferral, inputs, at_hand)
                    return
            except Untraceable:  # nothing is done yet; neither can the steps that follow be deferred
                plan.deferral = None
        tensors = plan.tensors

        def measure(transforms: Sequence[Transform]) -> GradNorms:
            return dispatch.measure(tensors, transforms, self.backend)

        measured = self._guarded(plan, measure, scaler and scaler.opened())
        self._measured = (tensors.names, measured.norms) if measured else None

    def _step_deferred(self, plan: Plan, deferral: CapturedStep, inputs: list[Any], scaler: Scaler | None) -> None:
        written = deferral.written
        if written is None or not written.holds(inputs):
            formula = Graph()
            measured = self._guarded(plan, partial(deferral.measured, formula), scaler and scaler.opened(formula))
            if measured is None:  # there was nothing to decide
                self._measured = None
                return
            norms = deferral.kept(formula, measured.norms)
            written = Written(formula, norms, self._inputs(scaler))  # the first step makes some of them
            deferral.keep(written)
        deferral.run(written.formula)
        self._measured = (plan.tensors.names, written.norms)

    def _guarded(
        self, plan: Plan, measure: Callable[[Sequence[Transform]], GradNorms], scaler: Scaler | None
    ) -> GradNorms | None:
        tensors = plan.tensors
        ledger = kept.ledger(self.param_groups[0], tensors.home)
        memories = clipper_memories(self.param_groups[0], self.clip, tensors.count, tensors.home)
        return guarded_step(tensors, measure, self.clip, memories, self.policy, ledger, plan.apply, self._watch, scaler)

    def _inputs(self, scaler: Scaler | None) -> list[Any]:
        """What of Python's a step depends on, besides its tensors."""
        values = [
            value
            for group in self.param_groups
            for name, value in group.items()
            if name != "params" and not (name == SCHEDULED and isinstance(value, float))
        ]
        return [*values, self.policy, *self._clippers, self.backend, scaler and scaler.scale]

    def _validate(self, group: Mapping[str, Any]) -> None:
        if group["variant"] not in self.variants:
            raise ValueError(
                f"variant is {group['variant']!r}: {type(self).__name__} has {', '.join(map(repr, self.variants))}"
            )
        if group["rounding"] not in get_args(Rounding):
            raise ValueError(f"rounding is {group['rounding']!r}: it must be one of {', '.join(get_args(Rounding))}")
        for name, bounds in self.hyperparameters.items():
            given = group[name]
            values = given if isinstance(given, tuple | list) else (given,)
            if name == "betas" and len(values) != 2:
                raise ValueError(f"betas is {given!r}: {type(self).__name__} accepts two numbers in {bounds}")
            for index, value in enumerate(values):
                number = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
                if not isinstance(number, int | float) or isinstance(number, bool) or number not in bounds:
                    label = f"{name}[{index}]" if len(values) > 1 else name
                    raise ValueError(f"{label} is {value!r}: {type(self).__name__} accepts a number in {bounds}")

        if self.rule(group).needs_base_lr and not group.get("base_lr", _base_lr(group)) > 0:
            raise ValueError(
                f"lr is {group['lr']!r}: {type(self).__name__} with variant={group['variant']!r} compares it with the "
                "learning rate at first, which must be greater than 0: start from a positive lr, which a scheduler may "
                "then set to 0, or give the parameter group a base_lr"
            )

    def state_dict(self) -> dict[str, Any]:
        """The state, as torch.optim's optimizer of the same name would save and load it, and the ledger with it."""
        saved = super().state_dict()
        # Inside, parameters that step together share a clock; torch would advance a shared one for each of them.
        saved["state"] = {
            key: {name: _unshared(value) for name, value in state.items()} if isinstance(state, dict) else state
            for key, state in saved["state"].items()
        }
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a `state_dict`, of this optimizer or of torch.optim's of the same name, bit for bit.

        Nothing of `state_dict` is shared with the optimizer afterwards.
        """
        given: list[dict[str, Any]] = []  # what the pre-hooks made of it: ours comes after them, and before post-hooks
        before = self.register_load_state_dict_pre_hook(lambda _, final: given.append(final))
        after = self.register_load_state_dict_post_hook(lambda _: self._adopt(given[0]), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _adopt(self, state_dict: dict[str, Any]) -> None:
        """State as it was saved, where torch has cast it or given each parameter a clock of its own."""
        entries = iter(
            [state_dict["state"].get(key, {}) for group in state_dict["param_groups"] for key in group["params"]]
        )
        for group in self.param_groups:
            group.setdefault("variant", self.variants[0])  # a checkpoint of torch.optim means torch's definition
            for name, default in self.defaults.items():  # and lacks what is only ours
                group.setdefault(name, default)
            group.setdefault("base_lr", _base_lr(group))
            clocks = ("step", *self.rule(group).clocks)
            shared: dict[tuple[float | torch.device, ...], dict[str, torch.Tensor]] = {}
            for parameter in group["params"]:
                entry = next(entries)
                # torch casts state to the parameter's dtype on the way in, which would round half precision's moments.
                state = {
                    name: value.to(parameter.device, state_dtype(parameter), copy=True)
                    if isinstance(value, torch.Tensor)
                    else copy.deepcopy(value)
                    for name, value in entry.items()
                    if name not in clocks and value is not None  # torch's SGD saves None where it has no momentum
                }
                if not state and "step" not in entry:
                    self.state.pop(parameter, None)
                    continue
                # torch's SGD counts no steps: with state it has taken at least one, and only the first is special.
                readings = [float(entry.get(name, 1.0)) for name in clocks]
                key = (*readings, parameter.device)
                self.state[parameter] = {
                    **shared.setdefault(key, step_counters(clocks, readings, parameter.device)),
                    **state,
                }
        self._measured = self._plan = None

    def __getstate__(self) -> dict[str, Any]:
        own = {"_clippers": self._clippers, "policy": self.policy, "backend": self.backend}
        return {**super().__getstate__(), **own}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._watch = SkipWatch()
        self._measured = self._plan = None

    def __repr__(self) -> str:
        with kept.hidden(self.param_groups[0]):
            return super().__repr__()


def _base_lr(group: Mapping[str, Any]) -> float:
    return float(group.get("initial_lr", group["lr"]))


def _is_watched(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a hook or the profiler has to hear of the step."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _hooks._global_optimizer_pre_hooks
        or _hooks._global_optimizer_post_hooks
        or _profiler_enabled()
    )


def _unshared(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) and value.dim() == 0 else value


def _refuse_unknown(optimizer: str, options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _TORCH_ONLY:
            raise TypeError(f"{optimizer} has no {name!r}: how a step is computed is chosen by backend=")
        if name not in Options.__annotations__:
            raise TypeError(f"{optimizer} has no argument {name!r}; it takes {', '.join(Options.__annotations__)}")


def _plain(value: Any) -> Any:
    """Numbers of other kinds, NumPy's for one, as Python's: a checkpoint that holds others cannot be loaded safely."""
    if isinstance(value, tuple) and any(isinstance(one, np.generic) for one in value):
        return tuple(map(_plain, value))
    if isinstance(value, np.generic):
        return value.item()
    return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value

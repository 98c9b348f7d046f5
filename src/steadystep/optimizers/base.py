"""The torch.optim.Optimizer under every optimizer: groups, state, clocks, checkpoints. The rules are elsewhere."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict, Unpack

import torch

from steadystep import ledger as ledgers
from steadystep.clipping.clipper import Clip, as_clippers
from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Stage
from steadystep.guarded_step import Nonfinite, Policy, SkipWatch, guarded_step
from steadystep.kernels import eager
from steadystep.maths import Number
from steadystep.rule import Range, Rule

Params = Iterable[torch.Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, torch.Tensor]]


class Options(TypedDict, total=False):
    """What every optimizer takes besides its own hyperparameters."""

    variant: str | None  # which definition of the optimizer; None means its default, the first one
    maximize: bool  # climb instead of descend; default False
    clip: Clip  # None (default), a maximal global norm, a clipper, or a list of these applied in order
    nonfinite: Nonfinite  # "skip" (default), "raise" or "propagate", when a gradient is not finite
    max_consecutive_skips: int  # refused steps in a row before TooManySkipsError; default 25
    backend: str | None  # "eager", or None for the default


_TORCH_ONLY = ("foreach", "fused", "capturable", "differentiable")


class Optimizer(torch.optim.Optimizer):
    """A torch.optim.Optimizer whose step measures, clips, guards and keeps a ledger.

    A subclass gives `hyperparameters`, the range of each; `variants`, the names of its definitions, the default
    first; and `rule`, which equation a parameter group follows.
    """

    hyperparameters: ClassVar[Mapping[str, Range]]
    variants: ClassVar[tuple[str, ...]]

    def __init__(self, params: Params, defaults: dict[str, Any], **options: Unpack[Options]) -> None:
        _refuse_unknown(type(self).__name__, options)
        self.clip = as_clippers(options.get("clip"))
        self.policy = Policy(options.get("nonfinite", "skip"), options.get("max_consecutive_skips", 25))
        self.backend = _backend(options.get("backend"))
        self._watch = SkipWatch()
        self._measured: tuple[Sequence[str], Measured] | None = None
        variant = options.get("variant") or self.variants[0]
        super().__init__(params, {**defaults, "maximize": options.get("maximize", False), "variant": variant})

    @classmethod
    def rule(cls, group: Mapping[str, Any]) -> Rule:
        """The update rule that a parameter group's options ask for."""
        raise NotImplementedError(f"{cls.__name__} has no rule")

    @property
    def ledger(self) -> dict[str, Any]:
        """What happened to every step so far, as a plain dict of Python numbers; reading it waits for the device.

        ``attempted``, ``applied``, ``skipped`` (= ``skipped_nonfinite`` + ``skipped_overflow``) and
        ``consecutive_skips`` count steps; ``clipped`` those applied with a gradient that a clipper changed, and
        ``clip_rate`` is its share of the applied ones. ``norm_before`` and ``norm_after`` are the last step's global
        gradient norms around clipping, ``scale`` their ratio, ``running_norm_*`` their exponential averages over
        applied steps, and ``norms`` the last norm of each tensor by its name.
        """
        names, measured = self._measured or ((), None)
        return ledgers.read(self._ledger(), names, measured and measured.norms)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self._validate({**self.defaults, **param_group})
        super().add_param_group(param_group)
        # Schedulers overwrite lr; some rules need what it was at first, and it could not be guessed later.
        group = self.param_groups[-1]
        group.setdefault("base_lr", float(group.get("initial_lr", group["lr"])))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step, or refuse it: measure, decide, apply. `.grad` is read and never written.

        Args:
            closure: evaluates the model again and returns the loss, which is then returned.

        Raises:
            NonFiniteGradientError: under ``nonfinite="raise"``, naming the tensors.
            TooManySkipsError: after more than `max_consecutive_skips` refusals in a row.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work = self._collect()
        if work.gradients:
            ledger = self._ledger(work.gradients[0].device)
            measured = guarded_step(
                work.gradients, work.groups, work.names.__getitem__, self.clip, self.policy, ledger, work.apply
            )
            self._measured = (work.names, measured) if measured else None
            self._watch.check(ledger, self.policy.max_consecutive_skips)
        return loss

    def _collect(self) -> "_Work":
        """Everything this step is about: the parameters that have a gradient, their state and their clocks."""
        work = _Work()
        for number, group in enumerate(self.param_groups):
            rule, start = self.rule(group), len(work.gradients)
            cohorts: dict[int, _Cohort] = {}
            idle: set[int] = set()  # clocks that also belong to a parameter that does not step now
            newcomers: dict[torch.device, torch.Tensor] = {}
            for position, parameter in enumerate(group["params"]):
                gradient = parameter.grad
                if gradient is None or parameter.numel() == 0:
                    if parameter in self.state:
                        idle.add(id(self.state[parameter]["step"]))
                    continue
                if gradient.is_sparse:
                    raise RuntimeError(
                        f"{type(self).__name__} does not support sparse gradients, and "
                        f"{_name(group, number, position, parameter)} has one: use torch.optim.SparseAdam, or an "
                        "embedding with sparse=False"
                    )
                state = self.state[parameter]
                if "step" not in state:
                    state["step"] = newcomers.setdefault(parameter.device, _new_clock(parameter.device))
                for slot in rule.slots:
                    if slot not in state:
                        state[slot] = _start(rule, group, slot, parameter)
                clock = state["step"]
                cohort = cohorts.setdefault(id(clock), _Cohort(rule, group, clock))
                cohort.states.append(state)
                cohort.updates.append(
                    eager.Update(
                        len(work.gradients),
                        _real(gradient),
                        _real(parameter),
                        [_real(state[slot]) for slot in rule.slots],
                    )
                )
                work.gradients.append(cohort.updates[-1].gradient)
                work.names.append(_name(group, number, position, parameter))
            for identity in idle & cohorts.keys():
                cohorts[identity].leave()
            work.cohorts.extend(cohorts.values())
            if len(work.gradients) > start:
                work.groups.append(slice(start, len(work.gradients)))
        return work

    def _ledger(self, device: torch.device | None = None) -> torch.Tensor:
        # It lives in a parameter group, where state_dict, deepcopy and pickle take it along.
        group = self.param_groups[0]
        if "ledger" not in group:
            group["ledger"] = ledgers.blank(device or torch.device("cpu"))
        elif device is not None and group["ledger"].device != device:
            group["ledger"] = group["ledger"].to(device)
        return group["ledger"]

    def _validate(self, group: Mapping[str, Any]) -> None:
        if group["variant"] not in self.variants:
            raise ValueError(
                f"variant is {group['variant']!r}: {type(self).__name__} has {', '.join(map(repr, self.variants))}"
            )
        for name, bounds in self.hyperparameters.items():
            given = group[name]
            values = given if isinstance(given, tuple | list) else (given,)
            for index, value in enumerate(values):
                number = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
                if not isinstance(number, int | float) or number not in bounds:
                    label = f"{name}[{index}]" if len(values) > 1 else name
                    raise ValueError(f"{label} is {value!r}: {type(self).__name__} accepts a number in {bounds}")

    def state_dict(self) -> dict[str, Any]:
        """The state, as torch.optim's optimizer of the same name would save and load it, and the ledger with it."""
        saved = super().state_dict()
        # Inside, parameters that step together share a clock; torch would advance a shared one for each of them.
        saved["state"] = {
            key: {name: value.clone() if value.dim() == 0 else value for name, value in state.items()}
            for key, state in saved["state"].items()
        }
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a `state_dict`, of this optimizer or of torch.optim's of the same name, bit for bit.

        Nothing of `state_dict` is shared with the optimizer afterwards.
        """
        super().load_state_dict(state_dict)
        entries = iter(
            [state_dict["state"].get(key, {}) for group in state_dict["param_groups"] for key in group["params"]]
        )
        for group in self.param_groups:
            group.setdefault("variant", self.variants[0])  # a checkpoint of torch.optim names none
            group.setdefault("base_lr", float(group.get("initial_lr", group["lr"])))
            clocks = ("step", *self.rule(group).clocks)
            shared: dict[tuple[float | torch.device, ...], dict[str, torch.Tensor]] = {}
            for parameter in group["params"]:
                entry = next(entries)
                # torch casts state to the parameter's dtype on the way in, which would round half precision's moments.
                state = {
                    name: value.to(parameter.device, _state_dtype(parameter), copy=True)
                    for name, value in entry.items()
                    if name not in clocks and isinstance(value, torch.Tensor)
                }
                if not state and "step" not in entry:
                    self.state.pop(parameter, None)
                    continue
                # torch's SGD counts no steps: with state it has taken at least one, and only the first is special.
                readings = [float(entry.get(name, 1.0)) for name in clocks]
                dials = shared.setdefault((*readings, parameter.device), _dials(clocks, readings, parameter.device))
                self.state[parameter] = {**dials, **state}
        self._measured = None

    def __getstate__(self) -> dict[str, Any]:
        kept = {"clip": self.clip, "policy": self.policy, "backend": self.backend}
        return {**super().__getstate__(), **kept}  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._watch = SkipWatch()
        self._measured = None

    def __repr__(self) -> str:
        ledger = self.param_groups[0].pop("ledger", None)
        text = super().__repr__()
        if ledger is not None:
            self.param_groups[0]["ledger"] = ledger
        return text


@dataclass
class _Cohort:
    """Parameters of a group that have always stepped together: one clock, one set of coefficients."""

    rule: Rule
    group: Mapping[str, Any]
    clock: torch.Tensor
    states: list[dict[str, Any]] = field(default_factory=list)
    updates: list[eager.Update] = field(default_factory=list)

    def leave(self) -> None:
        """From now on these parameters count their steps apart from the others that had the same clock."""
        shared = {
            "step": self.clock,
            **{name: self.states[0][name] for name in self.rule.clocks if name in self.states[0]},
        }
        own = {name: value.clone() for name, value in shared.items()}
        self.clock = own["step"]
        for state in self.states:
            state.update(own)

    def apply(self, stages: Sequence[Stage], accept: Number) -> None:
        on_host = self.clock.device.type == "cpu"
        clocks = self._clocks()
        t = self.clock.item() + 1 if on_host else self.clock.double() + 1
        values = _flat(self.group) | {name: clock.item() if on_host else clock for name, clock in clocks.items()}
        advanced = self.rule.advanced(t, values)
        values |= advanced
        coefficients = self.rule.coefficients(t, values)
        eager.apply(self.rule, coefficients, self.updates, stages, values, accept)
        advanced["step"], clocks["step"] = t, self.clock
        for name, clock in clocks.items():
            if isinstance(accept, torch.Tensor):
                clock.copy_(torch.where(accept.to(clock.device), advanced[name], clock))
            else:
                clock.fill_(advanced[name])

    def _clocks(self) -> dict[str, torch.Tensor]:
        """The rule's own clocks, which these parameters share as they share the step count."""
        for name in self.rule.clocks:
            if name not in self.states[0]:
                clock = torch.ones((), dtype=torch.float64, device=self.clock.device)
                for state in self.states:
                    state[name] = clock
        return {name: self.states[0][name] for name in self.rule.clocks}


@dataclass
class _Work:
    """One step's tensors, in the order of the parameter groups."""

    gradients: list[torch.Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    groups: list[slice] = field(default_factory=list)
    cohorts: list[_Cohort] = field(default_factory=list)

    def apply(self, stages: Sequence[Stage], accept: Number) -> None:
        for cohort in self.cohorts:
            cohort.apply(stages, accept)


def _flat(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's hyperparameters as single numbers: betas becomes beta1 and beta2."""
    flat = dict(group)
    for index, beta in enumerate(flat.pop("betas", ()), start=1):
        flat[f"beta{index}"] = beta
    for name, value in flat.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1 and value.device.type == "cpu":
            flat[name] = value.item()
    return flat


def _name(group: Mapping[str, Any], number: int, position: int, parameter: torch.Tensor) -> str:
    if "param_names" in group:
        return group["param_names"][position]
    return f"group {number}, tensor {position}, shape {tuple(parameter.shape)}"


def _dials(names: Sequence[str], readings: Sequence[float], device: torch.device) -> dict[str, torch.Tensor]:
    """Clocks that show what was saved, for parameters that step together."""
    dials = {
        name: torch.full((), value, dtype=torch.float64, device=device)
        for name, value in zip(names, readings, strict=True)
    }
    return {**dials, "step": dials["step"].float()}


def _new_clock(device: torch.device) -> torch.Tensor:
    return torch.zeros((), dtype=torch.float32, device=device)


def _state_dtype(parameter: torch.Tensor) -> torch.dtype:
    if parameter.is_complex():
        return parameter.dtype
    return eager.math_dtype(parameter)


def _start(rule: Rule, group: Mapping[str, Any], slot: str, parameter: torch.Tensor) -> torch.Tensor:
    start = rule.start.get(slot, 0.0)
    value = group[start] if isinstance(start, str) else start
    if parameter.is_complex():
        value = complex(value, value)  # state is kept for the real and the imaginary part, each as a real number
    return torch.full_like(parameter, value, dtype=_state_dtype(parameter), memory_format=torch.preserve_format)


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as the pairs of its real and imaginary parts."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _backend(name: str | None) -> str:
    if name not in (None, "eager"):
        raise ValueError(f"backend is {name!r}: it must be 'eager', or None for the default")
    return name or "eager"


def _refuse_unknown(optimizer: str, options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _TORCH_ONLY:
            raise TypeError(f"{optimizer} has no {name!r}: how a step is computed is chosen by backend=")
        if name not in Options.__annotations__:
            raise TypeError(f"{optimizer} has no argument {name!r}; it takes {', '.join(Options.__annotations__)}")

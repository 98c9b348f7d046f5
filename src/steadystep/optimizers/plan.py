"""The plan of a step: which parameters step together and how. It is made once and reused until something changes."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import getitem, is_, methodcaller
from typing import Any

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet, gather_gradients, local_reals
from steadystep.kernels.capture import CapturedStep
from steadystep.kernels.dispatch import captured_step, measure, update_passes
from steadystep.kernels.precision import ROUNDING_ERROR, Rounding, is_compensated
from steadystep.kernels.update import Update, UpdatePass
from steadystep.optimizers.param_set import ParamSet, initial_state, new_step_counter
from steadystep.rule import Rule
from steadystep.step.state import is_priming_step, step_state
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict

_FITS = methodcaller("fits")

Groups = Sequence[Mapping[str, Any]]
State = MutableMapping[torch.Tensor, dict[str, Any]]
RuleOf = Callable[[Mapping[str, Any]], Rule]
"""From a parameter group to the rule that it follows."""


@dataclass
class Plan:
    """The parameter sets of a step, with their gradients and their state."""

    gradients: GradientSet
    rules: list[tuple[Rule, Rounding]]  # of each group
    param_sets: list[ParamSet] = field(default_factory=list)
    passes: list[UpdatePass] = field(default_factory=list)
    captured: CapturedStep | None = None  # None where steps cannot be captured
    # What the plan was made from, to notice when it is replaced.
    _states: list[dict[str, Any]] = field(default_factory=list)
    _entries: tuple[list[dict[str, Any]], list[str], list[torch.Tensor]] = field(default_factory=lambda: ([], [], []))

    def apply(self, transforms: Sequence[Transform], verdict: Verdict, update_bound: float | None) -> Number:
        """Update all tensors if the verdict accepts the step; return whether `update_bound` limited any update."""
        bounded: Number = False
        for param_set in self.param_sets:
            bounded = bounded | param_set.apply(transforms, verdict, update_bound)
        return bounded

    def renew(self, param_groups: Groups, state: State) -> bool:
        """Take the current gradients; return False if any tensor that the plan was made from has been replaced."""
        if not self.gradients.renew(param_groups):
            return False
        # Compared by identity and in order: looking a tensor up in a dictionary takes ten times as long.
        if len(state) != len(self._states) or not all(map(is_, state.values(), self._states)):
            return False
        owners, names, values = self._entries
        return all(map(is_, map(getitem, owners, names), values)) and all(map(_FITS, self.passes))

    def follows(self, param_groups: Groups, rule_of: RuleOf) -> bool:
        """Return whether the groups still follow the rules that the plan was made for."""
        return self.rules == _rules(param_groups, rule_of)

    def remember(self, state: State) -> None:
        """Record the state that the plan was made from."""
        self._states = list(state.values())
        owners, names, values = self._entries
        for entry in self._states:
            owners += [entry] * len(entry)
            names += entry.keys()
            values += entry.values()


def plan_step(
    optimizer: str,
    param_groups: Sequence[MutableMapping[str, Any]],
    rule_of: RuleOf,
    state: State,
    clippers: Sequence[Clipper],
    backend: str | None,
) -> Plan | None:
    """Make the plan for a step with the current gradients, or return None if there is nothing to do.

    Args:
        optimizer: the name that an error message gives.
        param_groups: the parameter groups of the optimizer.
        rule_of: the rule that a group follows.
        state: the state of the optimizer; what is missing is created.
        clippers: the clippers of the optimizer.
        backend: the name of a backend, or None for the fastest.
    """
    gradients = gather_gradients(param_groups, optimizer)
    if not gradients.gradients:
        return None
    fresh = not state
    bounded = any(isinstance(clipper, ClipUpdate) for clipper in clippers)
    plan = _make_plan(gradients, param_groups, rule_of, state, backend, bounded)
    if fresh and is_priming_step(param_groups, partial(measure, gradients, backend=backend)):
        step_state(param_groups[0], clippers, gradients)
        return None
    return plan


def _make_plan(
    gradients: GradientSet, param_groups: Groups, rule_of: RuleOf, state: State, backend: str | None, bounded: bool
) -> Plan:
    plan = Plan(gradients, _rules(param_groups, rule_of))
    index = 0
    for group, (rule, rounding) in zip(param_groups, plan.rules, strict=True):
        sets: dict[int, ParamSet] = {}  # by the identity of their step counter
        idle: set[int] = set()  # step counters of parameters that do not step now
        new_counters: dict[torch.device, torch.Tensor] = {}
        for parameter in group["params"]:
            if index == len(gradients.parameters) or gradients.parameters[index] is not parameter:
                if parameter in state:
                    idle.add(id(state[parameter]["step"]))
                continue
            entry = state[parameter]
            if "step" not in entry:
                entry["step"] = new_counters.setdefault(parameter.device, new_step_counter(parameter.device))
            slots = [*rule.slots, *([ROUNDING_ERROR] if is_compensated(parameter.dtype, rounding) else [])]
            for slot in slots:
                if slot not in entry:
                    entry[slot] = initial_state(rule, group, slot, parameter)
            param_set = sets.setdefault(id(entry["step"]), ParamSet(rule, group, entry["step"]))
            param_set.states.append(entry)
            shards = [local_reals(entry[slot]) for slot in slots]
            param_set.updates.append(Update(index, gradients, local_reals(parameter), shards, parameter))
            index += 1
        for identity in idle & sets.keys():
            sets[identity].split_off()
        for param_set in sets.values():
            param_set.start_counters()
            param_set.passes = update_passes(rule, param_set.updates, rounding, gradients.home, backend, bounded)
            plan.param_sets.append(param_set)
            plan.passes += param_set.passes
    plan.captured = captured_step(gradients, plan.passes, backend)
    plan.remember(state)
    return plan


def _rules(param_groups: Groups, rule_of: RuleOf) -> list[tuple[Rule, Rounding]]:
    return [(rule_of(group), group["rounding"]) for group in param_groups]

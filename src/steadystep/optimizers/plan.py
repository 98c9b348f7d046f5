"""The plan of a step: which parameters step together and how. It is made once and reused until something changes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.transforms import Transform
from steadystep.gradients.distributed import local
from steadystep.gradients.fsdp1 import in_fsdp1
from steadystep.gradients.gradient_set import GradientSet, gather_gradients, local_reals
from steadystep.kernels.capture import CapturedStep
from steadystep.kernels.dispatch import captured_step, measure, update_passes
from steadystep.kernels.precision import Rounding
from steadystep.kernels.update import Update, UpdatePass, has_nonfinite
from steadystep.memory.access import check_writable, refuse_conjugated
from steadystep.memory.overlap import Overlap
from steadystep.optimizers.counters import STEP, Counters
from steadystep.optimizers.param_set import ParamSet
from steadystep.optimizers.plan_inputs import Groups, PlanInputs, State
from steadystep.optimizers.slots import complete_state
from steadystep.rule import Rule
from steadystep.step.state import is_priming_step, step_state
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict

_NONFINITE = attrgetter("nonfinite")

RuleOf = Callable[[Mapping[str, Any]], Rule]
"""From a parameter group to the rule that it follows."""


@dataclass
class Plan:
    """The parameter sets of a step, with their gradients and their state."""

    gradients: GradientSet
    rules: list[tuple[Rule, Rounding]]  # of each group
    param_sets: list[ParamSet] = field(default_factory=list)
    captured: CapturedStep | None = None  # None where steps cannot be captured
    inputs: PlanInputs | None = None  # None where every step needs a new plan

    def apply(self, transforms: Sequence[Transform], verdict: Verdict, update_bound: float | None) -> Number:
        """Update all tensors if the verdict accepts the step; return whether `update_bound` limited any update."""
        bounded: Number = False
        for param_set in self.param_sets:
            bounded = bounded | param_set.apply(transforms, verdict, update_bound)
        return bounded

    @cached_property
    def passes(self) -> list[UpdatePass]:
        """The passes of all parameter sets."""
        return [one for param_set in self.param_sets for one in param_set.passes]

    @cached_property
    def flags(self) -> list[torch.Tensor]:
        """The flags of the passes on an accelerator; see `UpdatePass.flag`."""
        return [one.flag for one in self.passes if one.flag is not None]

    def wrote_nonfinite(self, wait: bool) -> bool:
        """Return whether the last update wrote something that is not finite; without `wait` no device is read."""
        if wait and any(float(flag) for flag in self.flags):
            return True
        return any(map(_NONFINITE, self.passes))

    def names_of_nonfinite(self) -> list[str]:
        """Return the names of the parameters which are not finite, or whose state is not; each update is told once."""
        found = [update.index for one in self.passes for update in one.updates if has_nonfinite(update)]
        for one in self.passes:
            one.nonfinite = False
        return [self.gradients.names[index] for index in sorted(found)]

    def update_norms(self) -> dict[str, float]:
        """Return the Euclidean norm of the last update of each parameter by name; this waits for the device."""
        norms = {
            update.index: float(norm)
            for one in self.passes
            for update, norm in zip(one.updates, one.update_norms(), strict=True)
        }
        return {name: norms[index] for index, name in enumerate(self.gradients.names)}

    def renew(self, param_groups: Groups, state: State) -> bool:
        """Take the current gradients; return False if anything that the plan was made from has changed."""
        return self.inputs is not None and self.inputs.hold(param_groups, state)

    def follows(self, param_groups: Groups, rule_of: RuleOf) -> bool:
        """Return whether the groups still follow the rules that the plan was made for."""
        try:
            return self.rules == _rules(param_groups, rule_of)
        except KeyError:  # no such rule: the options are checked when another plan is made
            return False


def plan_step(
    optimizer: str,
    param_groups: Groups,
    rule_of: RuleOf,
    state: State,
    clippers: Sequence[Clipper],
    backend: str | None,
    measured: bool,
    last: Plan | None = None,
) -> Plan | None:
    """Make the plan for a step with the current gradients, or return None if there is nothing to do.

    Args:
        optimizer: the name that an error message gives.
        param_groups: the parameter groups of the optimizer.
        rule_of: the rule that a group follows.
        state: the state of the optimizer; what is missing is created.
        clippers: the clippers of the optimizer.
        backend: the name of a backend, or None for the fastest.
        measured: whether the step measures the gradients; a rule with sums over a tensor always does.
        last: the plan before, whose counters are used again where they still serve.

    Raises:
        ValueError: for a gradient, a parameter or state that does not fit the others, naming the tensor.
    """
    measured = measured or any(rule_of(group).sums is not None for group in param_groups)
    gradients = gather_gradients(param_groups, optimizer, measured)
    if not gradients.gradients:
        return None
    fresh = not state
    bounded = any(isinstance(clipper, ClipUpdate) for clipper in clippers)
    counters = [param_set.counters for param_set in last.param_sets] if last is not None else []
    plan = _make_plan(gradients, param_groups, rule_of, state, backend, bounded, counters)
    if fresh and is_priming_step(param_groups, partial(measure, gradients, backend=backend)):
        step_state(param_groups[0], clippers, gradients)
        return None
    return plan


def _make_plan(
    gradients: GradientSet,
    param_groups: Groups,
    rule_of: RuleOf,
    state: State,
    backend: str | None,
    bounded: bool,
    known: Sequence[Counters],
) -> Plan:
    plan = Plan(gradients, _rules(param_groups, rule_of))
    slots = []
    groups = [number for number, members in enumerate(gradients.members) for _ in members]
    for index, (parameter, position) in enumerate(zip(gradients.parameters, gradients.positions, strict=True)):
        group, (rule, _) = param_groups[groups[position]], plan.rules[groups[position]]
        _check_parameter(parameter, gradients.gradients[index], gradients.names[index])
        slots.append(complete_state(state.setdefault(parameter, {}), rule, group, parameter, gradients.names[index]))
    updates, overlap = _updates(gradients, slots)
    members: list[list[Update]] = [[] for _ in param_groups]
    for update in updates:
        members[groups[gradients.positions[update.index]]].append(update)
    for group, (rule, rounding), stepping in zip(param_groups, plan.rules, members, strict=True):
        for counters, together in _by_count(stepping, state, rule, known):
            param_set = ParamSet(rule, group, counters, together)
            param_set.passes = update_passes(rule, together, rounding, gradients.home, backend, bounded)
            plan.param_sets.append(param_set)
    plan.captured = captured_step(gradients, plan.passes, backend)
    # The parameters of FSDP1 are checked in every step, which may begin to measure.
    if gradients.renewable and not in_fsdp1(gradients.parameters):
        every = [param_set.counters for param_set in plan.param_sets]
        plan.inputs = PlanInputs(param_groups, state, updates, overlap, every)
    return plan


def _check_parameter(parameter: torch.Tensor, gradient: torch.Tensor, name: str) -> None:
    """Raise an error unless a parameter can be updated with its gradient.

    Raises:
        ValueError: naming the parameter.
    """
    if not (parameter.is_floating_point() or parameter.is_complex()):
        raise ValueError(f"{name} is of {parameter.dtype}: only floating-point and complex parameters can be updated")
    refuse_conjugated(parameter, name)
    expected = local_reals(parameter).shape
    if gradient.shape != expected:
        raise ValueError(
            f"the gradient of {name} has shape {tuple(gradient.shape)}, and the parameter {tuple(expected)}: "
            "compute it again after the parameter has got another shape"
        )
    check_writable(local(parameter), name)


def _updates(gradients: GradientSet, slots: Sequence[Sequence[torch.Tensor]]) -> tuple[list[Update], Overlap]:
    """Return the update of each parameter, marked where it touches memory that another one writes, and the overlap."""
    updates = [
        Update(index, gradients, local_reals(parameter), [local_reals(slot) for slot in state], parameter)
        for index, (parameter, state) in enumerate(zip(gradients.parameters, slots, strict=True))
    ]
    overlap = Overlap([(update.parameter, *update.state) for update in updates], gradients.gradients)
    for index in overlap.shared:
        updates[index] = replace(updates[index], shares_memory=True)
    return updates, overlap


def _by_count(
    members: Sequence[Update], state: State, rule: Rule, known: Sequence[Counters]
) -> list[tuple[Counters, list[Update]]]:
    """Group the parameters of a parameter group that have taken the same steps, with the counters that they share."""
    # On an accelerator, counters are not read as long as nothing but the steps has written them.
    unread = {identity: one for one in known if not one.on_cpu and one.agree() for identity in one.identities()}
    occurrences = Counter(id(update.whole) for update in members)
    together: dict[Any, list[Update]] = {}
    for update in members:
        entry = state[update.whole]
        counters = unread.get(id(entry[STEP]))
        counts = id(counters) if counters else tuple(float(entry[name]) for name in (STEP, *rule.counters))
        # A parameter that was given twice steps twice, one after the other.
        alone = id(update.whole) if occurrences[id(update.whole)] > 1 else None
        together.setdefault((counts, update.parameter.device, alone), []).append(update)
    found: list[tuple[Counters, list[Update]]] = []
    for (_, device, alone), updates in together.items():
        entries = [state[update.whole] for update in updates[: 1 if alone else None]]
        usable = (one for one in known if one.belong_to(entries, rule.counters) and one.agree())
        counters = next(usable, None) or Counters(entries, rule.counters, device)
        found += [(counters, [update]) for update in updates] if alone else [(counters, updates)]
    return found


def _rules(param_groups: Groups, rule_of: RuleOf) -> list[tuple[Rule, Rounding]]:
    return [(rule_of(group), group["rounding"]) for group in param_groups]

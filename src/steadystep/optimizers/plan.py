"""Which parameters step together, and how: found once, kept from step to step while nothing has changed."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from operator import getitem, is_
from typing import Any

import torch

from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet, part
from steadystep.kernels.dispatch import CapturedStep, deferral, passes
from steadystep.kernels.precision import LOST, Rounding, compensated
from steadystep.kernels.update import Update
from steadystep.optimizers.param_set import ParamSet, new_clock, start
from steadystep.rule import Rule
from steadystep.tracing.ops import Number

Groups = Sequence[Mapping[str, Any]]
State = MutableMapping[torch.Tensor, dict[str, Any]]


@dataclass
class Plan:
    """The tensors of a step by the clock that they share, with their state."""

    tensors: GradientSet
    rules: list[tuple[Rule, Rounding]]  # of each group its rule and how it rounds
    cohorts: list[ParamSet] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)  # of all parameters, as the optimizer has them
    owners: list[dict[str, Any]] = field(default_factory=list)  # the state that each of `kept` belongs to,
    slots: list[str] = field(default_factory=list)  # and its name there
    kept: list[torch.Tensor] = field(default_factory=list)
    deferral: CapturedStep | None = None  # how its steps are deferred, where they can be

    def apply(self, transforms: Sequence[Transform], accept: Number, update_bound: float | None) -> Number:
        """Write the update of all tensors, if it is accepted; whether `update_bound` limited any."""
        bounded: Number = False
        for cohort in self.cohorts:
            bounded = bounded | cohort.apply(transforms, accept, update_bound)
        return bounded

    def renew(self, param_groups: Groups, rule: Callable[[Mapping[str, Any]], Rule], state: State) -> bool:
        """Take the present gradients; False where anything has changed that the plan was made from."""
        if not self.tensors.renew(param_groups) or self.rules != _rules(param_groups, rule):
            return False
        # By identity, in their order: looking a tensor up in a dictionary takes ten times as long.
        if len(state) != len(self.states) or not all(map(is_, state.values(), self.states)):
            return False
        if not all(map(is_, map(getitem, self.owners, self.slots), self.kept)):
            return False
        return all(run.fits() for cohort in self.cohorts for run in cohort.passes)


def make_plan(
    tensors: GradientSet,
    param_groups: Groups,
    rule: Callable[[Mapping[str, Any]], Rule],
    state: State,
    backend: str | None,
    bounded: bool,
) -> Plan:
    """The plan for these tensors; their state is made where it is missing.

    `bounded` says that a clipper limits the size of whole updates.
    """
    plan = Plan(tensors, _rules(param_groups, rule))
    index = 0
    for group, (followed, rounding) in zip(param_groups, plan.rules, strict=True):
        cohorts: dict[int, ParamSet] = {}
        idle: set[int] = set()  # clocks that also belong to a parameter that does not step now
        newcomers: dict[torch.device, torch.Tensor] = {}
        for parameter in group["params"]:
            if index == len(tensors.parameters) or tensors.parameters[index] is not parameter:
                if parameter in state:
                    idle.add(id(state[parameter]["step"]))
                continue
            own = state[parameter]
            if "step" not in own:
                own["step"] = newcomers.setdefault(parameter.device, new_clock(parameter.device))
            slots = [*followed.slots, *([LOST] if compensated(parameter.dtype, rounding) else [])]
            for slot in slots:
                if slot not in own:
                    own[slot] = start(followed, group, slot, parameter)
            cohort = cohorts.setdefault(id(own["step"]), ParamSet(followed, group, own["step"]))
            cohort.states.append(own)
            parts = [part(own[slot]) for slot in slots]
            cohort.updates.append(Update(index, tensors, part(parameter), parts, parameter))
            index += 1
        for identity in idle & cohorts.keys():
            cohorts[identity].leave()
        for cohort in cohorts.values():
            cohort.start_counters()
            cohort.passes = passes(followed, cohort.updates, rounding, tensors.home, backend, bounded)
            plan.cohorts.append(cohort)
    made = [run for cohort in plan.cohorts for run in cohort.passes]
    plan.deferral = deferral(tensors, made, backend)
    plan.states = list(state.values())
    for own in plan.states:
        for slot, value in own.items():
            plan.owners.append(own)
            plan.slots.append(slot)
            plan.kept.append(value)
    return plan


def _rules(param_groups: Groups, rule: Callable[[Mapping[str, Any]], Rule]) -> list[tuple[Rule, Rounding]]:
    return [(rule(group), group["rounding"]) for group in param_groups]

"""Parameters that step together: their counters, the scalars of their step, and the passes that update them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from steadystep.clipping.transforms import Transform
from steadystep.kernels.update import Update, UpdatePass
from steadystep.optimizers.counters import STEP, Counters
from steadystep.optimizers.hyperparameters import Hyperparameters
from steadystep.rule import Rule
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict


@dataclass
class ParamSet:
    """Parameters of a group that have always stepped together: they share their counts and their coefficients."""

    rule: Rule
    group: Mapping[str, Any]
    counters: Counters
    updates: list[Update]
    passes: list[UpdatePass] = field(default_factory=list)

    @cached_property
    def _values(self) -> Hyperparameters:
        return Hyperparameters(self.group)

    def apply(self, transforms: Sequence[Transform], verdict: Verdict, update_bound: float | None) -> Number:
        """Write the update of these parameters, and advance their counters if the verdict accepts the step."""
        counts = self.counters.load(verdict)
        t = counts[STEP] = counts[STEP] + 1
        values = self._values
        values.graph = verdict.graph
        values.counters = {name: counts[name] for name in self.rule.counters}
        values.counters = self.rule.advanced(t, values)
        counts.update(values.counters)
        values.counters = {**values.counters, STEP: t}
        coefficients = self.rule.coefficients(t, values)
        bounded: Number = False
        for one in self.passes:
            bounded = bounded | one.apply(coefficients, transforms, values, verdict, update_bound)
        values.graph = None
        self.counters.store(counts, verdict)
        return bounded

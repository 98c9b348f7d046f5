"""The guarded step: measure the gradients, decide, apply or refuse the update, and record the step in the ledger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Decision, decide, read_memories, update_memories
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale, Transform
from steadystep.gradients.gradient_set import GradientSet
from steadystep.step import ledger as step_ledger
from steadystep.step.errors import TooManySkipsError
from steadystep.step.faults import count_faults
from steadystep.step.refusal import at_fault, error_of, norms_by_name
from steadystep.step.watch import StepWatch
from steadystep.tracing.graph import Graph, graph_of
from steadystep.tracing.ops import Number, isfinite, logical_not
from steadystep.tracing.verdict import Verdict

Nonfinite = Literal["skip", "raise", "propagate"]

Measure = Callable[[Sequence[Transform]], GradNorms]
"""Measures the gradients after transforms."""

Apply = Callable[[Sequence[Transform], Verdict, float | None], Number]
"""Writes the update of transformed gradients, bounded if there is a bound. Returns whether the bound limited it."""


@dataclass(frozen=True)
class Policy:
    """The policy for a step whose gradients are not finite or are too large to be squared."""

    nonfinite: Nonfinite = "skip"
    max_consecutive_skips: int = 25

    def __post_init__(self) -> None:
        if self.nonfinite not in get_args(Nonfinite):
            raise ValueError(f"nonfinite is {self.nonfinite!r}: it must be one of {', '.join(get_args(Nonfinite))}")
        limit = self.max_consecutive_skips
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise ValueError(f"max_consecutive_skips is {limit!r}: it must be a whole number from 1 up")


class Scaler(NamedTuple):
    """The scale by which a GradScaler multiplied the loss, and by which the step has to divide the gradients.

    A step is refused if the scaler has found an infinite gradient, even if those of this step are finite: they may have
    been changed since, or be those of another rank.

    The first `ledger.CALIBRATION` infinite steps in a row are skipped and do not count as refusals. Later ones count,
    and raise as they would without a GradScaler.
    """

    scale: Number
    found_inf: Number = 0.0  # not 0 if the scaler has found an infinite gradient

    def read(self, graph: Graph | None = None) -> "Scaler":
        """Return this with the scale read from memory, as a number that a step can compute with."""
        return Scaler(read_number(self.scale, graph), read_number(self.found_inf, graph))


def read_number(value: Number, graph: Graph | None) -> Number:
    """Return a number that may be in memory as one that a step can compute with."""
    if not isinstance(value, torch.Tensor):
        return value
    if graph is not None:
        return graph.load(value)
    return value.item() if value.is_cpu else value.double()


def scaler_of(optimizer: torch.optim.Optimizer) -> Scaler | None:
    """Return the scale of the gradients of `optimizer`, or None if the step was not called by a GradScaler.

    A GradScaler passes its scale to an optimizer that has `_step_supports_amp_scaling`, and then does not divide. It
    passes None if it has already divided.
    """
    found_inf: torch.Tensor | None = getattr(optimizer, "found_inf", None)
    if found_inf is None:
        return None
    scale: torch.Tensor | None = getattr(optimizer, "grad_scale", None)
    return Scaler(1.0 if scale is None else scale, found_inf)


class Guard(NamedTuple):
    """The clippers and the policy that guard an optimizer."""

    clippers: Sequence[Clipper]
    policy: Policy
    watch: StepWatch


class StepState(NamedTuple):
    """The state that a guarded step keeps between steps, on the device that decides."""

    ledger: torch.Tensor
    memories: Sequence[Mapping[str, torch.Tensor]]  # the statistics of each clipper
    faults: torch.Tensor  # (tensors,) how often each tensor was at fault for a refused step
    flags: Sequence[torch.Tensor] = ()  # of update passes on an accelerator; see `UpdatePass.flag`


def guarded_step(
    gradients: GradientSet,
    measure: Measure,
    apply: Apply,
    guard: Guard,
    state: StepState,
    scaler: Scaler | None = None,
    bad_loss: Number = False,
) -> GradNorms | None:
    """Measure the gradients, let the clippers and the guard decide, apply or refuse the update, and record the step.

    Args:
        gradients: the gradients of the step.
        measure: measures them.
        apply: writes the update; it is not called for a step that the host knows to be refused.
        guard: the clippers and the policy.
        state: the ledger and the statistics of the clippers.
        scaler: the scale by which the gradients have to be divided; the division is part of the measurement.
        bad_loss: whether the loss is not finite: not 0 if it is.

    Returns:
        The norms before clipping, or None where nothing had to be measured (no clipper, ``nonfinite="propagate"``).

    Raises:
        NonFiniteGradientError: under ``nonfinite="raise"``, naming the tensors.
        NonFiniteLossError: under ``nonfinite="raise"``.
        TooManySkipsError: after too many refusals in a row.
    """
    clippers, policy, watch = guard
    if is_unguarded(clippers, policy, scaler):
        verdict = Verdict(True)
        apply((), verdict, None)
        step_ledger.record_unmeasured(state.ledger, verdict.accept)
        if verdict.is_refused:
            watch.check(state.ledger, policy.max_consecutive_skips, list)
        return None
    unscale = () if scaler is None else (Scale(1.0 / scaler.scale),)
    raw = measure(())
    graph = graph_of(raw.global_abs_max)
    before = raw if scaler is None else raw.scaled(1.0 / scaler.scale, unscale)
    decision = decide(clippers, read_memories(state.memories, graph), before, measure)
    # Judged before clipping: a clamp would hide an infinity. NaN fails both comparisons.
    finite = isfinite(raw.global_abs_max)
    if scaler is not None:
        finite = finite & (scaler.found_inf == 0.0)
    fits = decision.after.can_be_squared()
    # While a GradScaler looks for its scale, infinities are expected: they are skipped whatever the policy is.
    infinite = logical_not(finite) if scaler is not None else finite & logical_not(finite)
    # But not for ever: a NaN that no scale removes comes from the gradient itself.
    calibrating = infinite if scaler is None else step_ledger.still_calibrating(state.ledger, infinite, graph)
    sound, healthy = finite & fits, logical_not(bad_loss != 0.0)
    if policy.nonfinite == "propagate":
        sound, healthy = logical_not(infinite), True
    raises = policy.nonfinite == "raise" and not ((sound & healthy) | calibrating)
    verdict = Verdict(False if raises else sound & healthy & logical_not(decision.refused))
    bounded = False if verdict.is_refused else apply(decision.transforms, verdict, decision.update_bound)
    # Statistics of gradients that are not finite are never stored, even where the step is applied.
    update_memories(state.memories, decision, verdict.accept & finite, finite & fits, graph)
    step_ledger.record(
        state.ledger,
        before.global_norm,
        decision.after.global_norm,
        before.global_abs_max,
        verdict,
        decision.clipped | bounded,
        {} if verdict.accept is True else _reasons(finite, fits, sound, healthy, decision),
        calibrating,
        state.flags,
    )
    count_faults(state.faults, raw, decision.after, logical_not(sound) & logical_not(verdict.accept), graph)
    if raises:
        raise error_of(raw, decision.after, gradients, state.ledger.tolist())
    tensors = partial(at_fault, gradients.names, state.faults)
    try:
        verdict.call_after(lambda: watch.check(state.ledger, policy.max_consecutive_skips, tensors))
    except TooManySkipsError as error:
        error.norms = norms_by_name(gradients.names, before.norms)
        raise
    return before


def is_unguarded(clippers: Sequence[Clipper], policy: Policy, scaler: Scaler | None) -> bool:
    """Return whether a step needs no measurement: nothing clips it and nothing can refuse it."""
    return policy.nonfinite == "propagate" and not clippers and scaler is None


def _reasons(finite: Number, fits: Number, sound: Number, healthy: Number, decision: Decision) -> dict[str, Number]:
    """Return, for each reason that a skipped step can have, whether this step has it."""
    return {
        "nonfinite": logical_not(finite) & logical_not(sound),
        "overflow": finite & logical_not(fits) & logical_not(sound),
        "loss": sound & logical_not(healthy),
        "outlier": sound & healthy & decision.refused,
    }


def refuse_in_backward(clippers: Sequence[Clipper]) -> None:
    """Raise an error if a step clips while gradients are still being computed.

    Raises:
        RuntimeError: if a step that clips is taken inside backward(), from a hook.
    """
    if clippers and torch._C._current_graph_task_id() != -1:
        raise RuntimeError(
            "step() was called inside backward(), when some gradients are still missing and no norm over all of them "
            "can be taken: step after backward(), or make the optimizer without clip="
        )

"""Measure, decide, apply: the one place where a step happens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import decide, opened, remember
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale, Transform
from steadystep.gradients.gradient_set import GradientSet
from steadystep.step import ledger as ledgers
from steadystep.tracing.graph import Graph, Node, graph_of, then
from steadystep.tracing.ops import Number, isfinite, logical_not

Nonfinite = Literal["skip", "raise", "propagate"]


class NonFiniteGradientError(FloatingPointError):
    """A gradient cannot be stepped with, and ``nonfinite="raise"`` asks to be told. Nothing was changed."""


class TooManySkipsError(RuntimeError):
    """More steps in a row were refused than `max_consecutive_skips` allows: the run does not recover."""


@dataclass(frozen=True)
class Policy:
    """What to do about a step whose gradients are not finite, or too large to be squared."""

    nonfinite: Nonfinite = "skip"
    max_consecutive_skips: int = 25

    def __post_init__(self) -> None:
        if self.nonfinite not in get_args(Nonfinite):
            raise ValueError(f"nonfinite is {self.nonfinite!r}: it must be one of {', '.join(get_args(Nonfinite))}")
        limit = self.max_consecutive_skips
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise ValueError(f"max_consecutive_skips is {limit!r}: it must be a whole number from 1 up")


@dataclass(frozen=True)
class Scaler:
    """What a GradScaler left to the step: the factor that it multiplied the loss by.

    Under it the first `ledger.CALIBRATION` infinite steps in a row are skipped and do not count as refusals; those that
    follow do, and raise as they would without a GradScaler.
    """

    scale: Number

    def opened(self, formula: Graph | None = None) -> "Scaler":
        """The scale, which lies in memory, as what a step computes with; or as part of a formula."""
        if not isinstance(self.scale, torch.Tensor):
            return self
        if formula is not None:
            return Scaler(formula.loaded(self.scale))
        return Scaler(self.scale.item() if self.scale.is_cpu else self.scale.double())


def guarded_step(
    tensors: GradientSet,
    measure: Callable[[Sequence[Transform]], GradNorms],
    clippers: Sequence[Clipper],
    memories: Sequence[Mapping[str, torch.Tensor]],
    policy: Policy,
    ledger: torch.Tensor,
    apply: Callable[[Sequence[Transform], Number, float | None], Number],
    watch: "SkipWatch",
    scaler: Scaler | None = None,
) -> GradNorms | None:
    """One step: measure the gradients, let the clippers and the guard decide, apply or refuse, enter it in the ledger.

    `measure(transforms)` measures the gradients as transforms leave them. `memories` are the statistics of each clipper.
    `apply(transforms, accept, update_bound)` writes the update and says whether the bound limited it; it is not called for
    a step that the host knows to be refused. `scaler` is what a GradScaler multiplied the loss by: the division belongs
    to the measurement, so it cannot come too late. `watch` counts refusals.
    Returns what was measured, or None where nothing had to be (no clipper, ``nonfinite="propagate"``).
    """
    if policy.nonfinite == "propagate" and not clippers and scaler is None:
        apply((), True, None)
        ledgers.record_unmeasured(ledger)
        return None
    unscaled = () if scaler is None else (Scale(1.0 / scaler.scale),)
    raw = measure(())
    before = raw if scaler is None else raw.scaled(1.0 / scaler.scale, unscaled)
    decision = decide(clippers, opened(memories, graph_of(raw.peak)), before, measure)
    # Judged on the raw gradient: a clamp would hide an infinity. NaN fails both comparisons.
    finite = isfinite(raw.peak)
    fits = decision.after.can_be_squared()
    # While a GradScaler finds its scale, infinities are its business: they are skipped, whatever the policy.
    infinite = logical_not(finite) if scaler is not None else finite & logical_not(finite)
    # But not for ever: a NaN that no scale removes is the gradient's own.
    calibrating = infinite if scaler is None else ledgers.still_calibrating(ledger, infinite)
    sound = finite & fits
    if policy.nonfinite == "propagate":
        sound = logical_not(infinite)
    if policy.nonfinite == "raise" and not (sound | calibrating):
        raise NonFiniteGradientError(_complaint(raw, decision.after, tensors))
    accept = sound & logical_not(decision.refused)
    bounded = apply(decision.transforms, accept, decision.update_bound) if not_refused(accept) else False
    # What is not finite is never clipper_memories, even where it is applied.
    remember(memories, decision, accept & finite, finite & fits)
    ledgers.record(
        ledger,
        before.total,
        decision.after.total,
        accept,
        decision.clipped | bounded,
        {} if accept is True else _reasons(finite, fits, sound, decision.refused),
        calibrating,
    )
    if accept is not True:
        then(accept, lambda: watch.check(ledger, policy.max_consecutive_skips))
    return before


def _reasons(finite: Number, fits: Number, sound: Number, refused: Number) -> dict[str, Number]:
    """For each count of skipped steps, whether this step is one."""
    return {
        "skipped_nonfinite": logical_not(finite) & logical_not(sound),
        "skipped_overflow": finite & logical_not(fits) & logical_not(sound),
        "skipped_outlier": sound & refused,
    }


def refuse_in_backward(clippers: Sequence[Clipper]) -> None:
    """Refuse to clip while gradients are still being computed.

    Raises:
        RuntimeError: if a step that clips is taken inside backward(), from a hook.
    """
    if clippers and torch._C._current_graph_task_id() != -1:
        raise RuntimeError(
            "step() was called inside backward(), where not all gradients are there yet: a norm over them cannot be "
            "taken. Step after backward(), or make the optimizer without clip="
        )


def not_refused(accept: Number) -> bool:
    """Whether a step may still be applied: a verdict on a device is left there."""
    return isinstance(accept, torch.Tensor | Node) or bool(accept)


def _complaint(before: GradNorms, after: GradNorms, tensors: GradientSet) -> str:
    nonfinite, too_large = [], []
    peaks = zip(before.peaks.tolist(), after.peaks.tolist(), strict=True)
    for name, limit, (raw, clipped) in zip(tensors.names, tensors.largest_squares.tolist(), peaks, strict=True):
        if not isfinite(raw):
            nonfinite.append(name)
        elif not clipped <= limit:
            too_large.append(f"{name} (largest element {clipped:.3g})")
    if nonfinite:
        return f"non-finite gradient in {_some(nonfinite)}; parameters and state are unchanged"
    return f"the square of the gradient overflows in {_some(too_large)}; parameters and state are unchanged"


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class SkipWatch:
    """Raises once too many steps in a row were refused. On an accelerator it never waits, so it may be late."""

    def __init__(self) -> None:
        self._landing: torch.Tensor | None = None
        self._event: torch.cuda.Event | None = None

    def check(self, ledger: torch.Tensor, limit: int) -> None:
        count = ledgers.consecutive_skips(ledger)
        refused = self._arrived(count) if isinstance(count, torch.Tensor) else count
        if refused > limit:
            raise TooManySkipsError(
                f"{int(refused)} steps in a row were refused (max_consecutive_skips={limit}): the gradients stay "
                "non-finite or too large. optimizer.ledger says why; nonfinite='raise' names the tensors"
            )

    def _arrived(self, count: torch.Tensor) -> float:
        """The latest count that has reached the host, 0 if none; starts the journey of the present one."""
        if torch.cuda.is_current_stream_capturing():  # nothing arrives while a CUDA graph is only being recorded
            return 0.0
        arrived = 0.0
        if self._landing is None or self._event is None:
            self._landing, self._event = torch.zeros((), dtype=count.dtype, pin_memory=True), torch.cuda.Event()
        elif not self._event.query():
            return 0.0
        else:
            arrived = float(self._landing.numpy())
        self._landing.copy_(count, non_blocking=True)
        self._event.record(torch.cuda.current_stream(count.device))  # which need not be the current device
        return arrived


def scaler_of(optimizer: torch.optim.Optimizer) -> Scaler | None:
    """The scale of the gradients that `optimizer` is to step with; None where no GradScaler calls the step.

    A GradScaler hands its scale to an optimizer that has `_step_supports_amp_scaling`, and divides nothing then; it
    hands None once it has divided by itself.
    """
    if getattr(optimizer, "found_inf", None) is None:
        return None
    scale: torch.Tensor | None = getattr(optimizer, "grad_scale", None)
    return Scaler(1.0 if scale is None else scale)

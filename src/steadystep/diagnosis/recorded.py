"""Whether a run that starts from a black box does what the box has recorded."""

import math

from steadystep.diagnosis.boxed_run import BoxedRun
from steadystep.diagnosis.case import Case
from steadystep.diagnosis.classes.learning_rate import rate_at
from steadystep.diagnosis.trouble import Trouble
from steadystep.recorder.triggers import GRADIENT, LOSS, PARAMETER, REFUSED

CLOSE = 1e-3
"""The relative difference of two losses, or learning rates, that rounding may make."""


def compare(case: Case, trouble: Trouble | None) -> Trouble | None:
    """Note whether the replay of a box comes out as recorded; return what the box says if the replay does not show it.

    A box that was triggered by something not finite, or by a refused step, is of a run with trouble. If the run that is
    given does not have it, it is not the run that was recorded, or not with the same batches and random numbers.
    """
    if not isinstance(case.run, BoxedRun):
        return trouble
    box = case.run.recording
    difference = _difference(case, case.run)
    case.note("the steps of the box", difference or "as recorded", None)
    trigger = box.trigger
    if trouble is not None or trigger is None or trigger.kind not in (REFUSED, LOSS, GRADIENT, PARAMETER):
        return trouble
    detail = f" ({trigger.detail})" if trigger.detail else ""
    return Trouble(
        "unseen",
        trigger.step,
        f"the box says of step {trigger.step}: {trigger.kind}{detail}; a replay from its snapshot before step "
        f"{case.first} does not show it" + (f", and comes out otherwise: {difference}" if difference else ""),
    )


def _difference(case: Case, run: BoxedRun) -> str:
    """Return the first difference between the replay and the box in words, or ""."""
    box = run.recording
    losses = dict(zip(box.steps.tolist(), box.loss.tolist(), strict=True))
    rates = dict(zip(box.steps.tolist(), box.lr.tolist(), strict=True))
    for step in case.steps:
        recorded = losses.get(step.index, math.nan)
        if math.isnan(recorded) or step.skipped:  # it was not given
            continue
        if not _close(recorded, step.loss):
            return f"the loss of step {step.index} is {step.loss:.6g} instead of {recorded:.6g}"
    known = [step.index for step in case.steps if step.stepped and step.index in rates]
    for index in known[-1:]:
        recorded, now = rates[index][0], rate_at(case, index)
        if not _close(recorded, now):
            return f"the learning rate of step {index} is {now:.6g} instead of {recorded:.6g}: is a scheduler missing?"
    return ""


def _close(one: float, other: float) -> bool:
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.isfinite(one) == math.isfinite(other)
    return abs(one - other) <= CLOSE * max(abs(one), abs(other), 1e-12)

"""A fault that a second replay does not have."""

import math

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.play import Step
from steadystep.diagnosis.trouble import Trouble

CLOSE = 1e-4
BACK = 25
"""Steps before the trouble from which it is replayed."""


def investigate(case: Case, trouble: Trouble) -> tuple[bool, Finding | None]:
    """Replay the steps before the trouble.

    Returns:
        Whether they come out as recorded and, if only the trouble does not, what is found.
    """
    first = max(known for known in case.moments if known <= case.before(trouble.step, BACK))
    count = min(trouble.step + 3, case.last + 1) - first
    played, again = case.replay(first, count), case.replay(first, count)
    differs = _first_difference(case.window(first, first + count), played.steps)
    if differs is None:
        case.note("a replay of the same steps", "as recorded", False)
        return True, None
    if _first_difference(played.steps, again.steps) is not None or differs <= first:
        case.note("a replay of the same steps", f"another loss at step {differs}: the run cannot be replayed", None)
        case.replayable = False
        return False, None
    if not played.is_sound:
        case.note("a replay of the same steps", "not finite either, at another step", False)
        return False, None
    case.note("two replays of the same steps", f"both are sound, agree, and are as recorded up to step {differs}", True)
    names = case.steps[-1].nonfinite_parameters or case.steps[-1].nonfinite_gradients
    return False, Finding(
        "transient",
        f"{names[0]}, step {differs}" if names else f"step {differs}",
        differs,
        f"{trouble.words}, but two replays from the same state are sound: step {differs} came out otherwise for a "
        "reason outside of the run; suspect the hardware",
        (Fix("run it again from the last checkpoint, and watch the machine", (), first),),
    )


def _first_difference(one: list[Step], other: list[Step]) -> int | None:
    for left, right in zip(one, other, strict=False):
        for a, b in ((left.loss, right.loss), (left.update, right.update)):
            if math.isnan(a) != math.isnan(b) or abs(a - b) > CLOSE * max(abs(a), abs(b), 1e-12):
                return left.index
    return None if len(one) == len(other) else min(len(one), len(other)) + one[0].index

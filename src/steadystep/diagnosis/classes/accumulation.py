"""Gradients of earlier steps that were never set to zero."""

import itertools

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import zeroed
from steadystep.diagnosis.classes.gradients_of_steps import Pair, cosine
from steadystep.diagnosis.culprit import Finding, Fix

SAME = 0.9999
OTHER = 0.999


def investigate(case: Case, compared: list[Pair]) -> Finding | None:
    """Ask whether each step's gradients are those of its batch added to those of the step before."""
    sums = 0
    for before, now in itertools.pairwise(compared):
        if now.index != before.index + 1:
            continue
        if cosine(now.given, before.given + now.fresh) < SAME:
            return None
        sums += cosine(now.given, now.fresh) < OTHER
    if sums < 2:
        return None
    last = compared[-1]
    ratio = float(last.given.norm() / last.fresh.norm())
    case.note(
        "recorded gradients against one batch",
        f"they are the running sum, {ratio:.3g} times as long at step {last.index}",
        False,
    )
    return Finding(
        "accumulation",
        "zero_grad",
        case.first,
        "gradients are never set to zero: each step's are added to those of all steps before it",
        (Fix("call optimizer.zero_grad() in every step, before backward()", (zeroed(),)),),
    )

"""Gradients that add up: those of earlier steps, which were never set to zero, or those of micro-batches."""

import itertools

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import divided, zeroed
from steadystep.diagnosis.classes.gradients_of_steps import Pair, cosine
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.race import learns_far_more, try_fix

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


def investigate_added(case: Case) -> Finding | None:
    """Ask whether the run holds with the mean of its backward passes' gradients, and does not with their sum."""
    passes, ratio = case.own_step.added if case.own_step is not None else (1, 1.0)
    if passes == 1:
        return None
    words = "divide the loss of each micro-batch by their number before backward()"
    if ratio < 0.75 * passes or ratio > 1.33 * passes:
        words = "call backward() once on the mean loss, or on each part of it"
    fix = Fix(words, (divided(ratio),))
    given, tried = try_fix(case, Fix("", ())), try_fix(case, fix)
    case.note(f"gradients divided by {ratio:.3g}", tried.words, tried.holds)
    case.note("gradients as they are", given.words, given.holds)
    if not learns_far_more(case, tried, given) and (given.holds or not tried.holds):
        return None
    return Finding(
        "accumulation",
        "backward() of micro-batches",
        case.first,
        f"the {passes} backward passes of a step are added, not averaged: the optimizer gets {ratio:.3g} times the "
        "gradients of the mean loss",
        (fix,),
    )

"""A function of the model or the loss that is not finite where it is used, or whose derivative is not."""

import torch

from steadystep.diagnosis.case import Case, Probe
from steadystep.diagnosis.changes import learning_rate
from steadystep.diagnosis.classes.batch import others_are_fine, skip_bad
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.edits import above, edited, stable
from steadystep.diagnosis.race import try_fix
from steadystep.diagnosis.trouble import Trouble


def mended(case: Case, trouble: Trouble, probe: Probe) -> Fix | None:
    """Return the fix by which the run goes on for long if only one function is kept finite, or None.

    The loss may rise before: in the end a learning rate that is too large makes every function not finite, and then
    keeping one of them finite does not help.
    """
    tried = (try_fix(case, fix) for fix in _fixes(case, trouble, probe))
    return next((each.fix for each in tried if each.holds), None)


def _fixes(case: Case, trouble: Trouble, probe: Probe) -> list[Fix]:
    """Return ways to keep the function finite that first makes something not finite."""
    event = probe.event
    if event is None:
        return []
    known = stable(event.place.function)
    ways = [] if known is None else [({event.place: known[0]}, known[1])]
    ways += [
        (edits, f"keep what {event.place.function} gets above {eps:g} wherever it is used")
        for eps in (1e-6, 1e-2)
        if (edits := above(eps, probe.seen.calls, event.place))
    ]
    where = event.place.line
    return [Fix(f"{words} ({where})", (edited(edits, words),), case.before(trouble.step)) for edits, words in ways]


def investigate(case: Case, trouble: Trouble, probe: Probe, fix: Fix | None) -> Finding | None:
    """Name the function that first makes something not finite.

    Args:
        case: the run.
        trouble: what shows.
        probe: the step, looked at.
        fix: what `mended` has found.
    """
    event, step = probe.event, trouble.step
    if event is None:
        return None
    backward = event.phase == "backward"
    wide = case.probe(case.at(step), case.run.batch(step), dtype=torch.float64)
    case.note("the same step in float64", "finite" if wide.is_finite else "not finite either", wide.is_finite)
    start = case.before(step)
    fixes = []
    if fix is not None:
        case.note(f"{event.place.words} kept finite", try_fix(case, fix).words, True)
        fixes.append(fix)
    fine, tried = others_are_fine(case, step)
    case.note(f"other batches at step {step}", f"{fine} of {tried} are finite", fine == tried)
    if not fixes:
        # Only a swap names a culprit: the function, as long as nothing else has been seen to decide.
        slower = Fix("divide the learning rate by 10", (learning_rate(0.1),), start)
        if probe.is_finite or fine == tried or try_fix(case, slower).holds:
            return None
        fixes += [Fix("skip steps that are not finite", (skip_bad(case, step),), start)] if fine else []
        fixes += [slower]
    sentence = f"the result of {event.place.words} is not finite: {event.what}"
    if backward:
        sentence = f"{event.what} {event.place.where} is not finite, though the loss is finite"
    return Finding("backward-op" if backward else "forward-op", str(event.place), step, sentence, tuple(fixes))

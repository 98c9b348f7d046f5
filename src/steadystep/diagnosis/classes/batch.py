"""One batch, or one example of it, that no weights can take."""

import math
from collections.abc import Callable, Sequence

from steadystep.diagnosis import examples
from steadystep.diagnosis.case import Case, Probe
from steadystep.diagnosis.changes import SKIP, Change, with_batches, without
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.trouble import Trouble, said

OTHERS = 5


def investigate(case: Case, trouble: Trouble) -> Finding | None:
    """Ask whether other batches are fine with these weights, and this batch is bad with others."""
    step = trouble.step
    batch, moment = case.run.batch(step), case.at(step)
    holds = examples.nonfinite(batch)
    fine, tried = others_are_fine(case, step)
    if not fine:
        return None
    earlier = [case.start, case.at((case.first + step) // 2)]
    bad_elsewhere = [not case.probe(other, case.run.batch(step)).is_finite for other in earlier]
    case.note(f"other batches at step {step}", f"{fine} of {tried} are finite", True)
    case.note(
        f"batch {step} with earlier weights",
        f"{sum(bad_elsewhere)} of {len(earlier)} are not finite",
        not all(bad_elsewhere),
    )
    if fine < tried or not all(bad_elsewhere):
        return None
    probe = case.probe(moment, batch, look=True)
    if probe.error is None and probe.forward_is_finite and holds is None:
        return None  # the loss is sound, so that the derivative is what a fix has to change
    return finding(case, step, probe, holds)


def others_are_fine(case: Case, step: int) -> tuple[int, int]:
    """Return how many other batches are finite with the weights of a step, and how many were tried."""
    moment, is_same = case.at(step), same_batch(case, step)
    alike = examples.nonfinite(case.run.batch(step)) is not None
    around = range(case.before(step, OTHERS), step + 2 * OTHERS + 1)
    others = [index for index in around if not is_same(index) and (index <= case.last or case.has_batch(index))]
    if alike:  # batches that are not finite either are bad for the same reason
        others = [index for index in others if not examples.nonfinite(case.run.batch(index))]
    near = [index for index in others if index <= step + OTHERS]
    chosen = near[-OTHERS:] if len(near) >= OTHERS else others[:OTHERS]
    return sum(case.probe(moment, case.run.batch(index)).is_finite for index in chosen), len(chosen)


def finding(case: Case, step: int, probe: Probe, holds: tuple[int | None, str] | None) -> Finding:
    """Name the example, if one alone decides."""
    moment, batch = case.at(step), case.run.batch(step)
    bad = examples.culprits(batch, lambda part: not case.probe(moment, part).is_finite)
    place = f"{named(bad)} of batch {step}" if bad else f"batch {step}"
    if holds is not None:
        reason = f"contains {holds[1]}"
    elif probe.error is not None:
        reason = f"raises {said(probe.error)}"
    elif probe.event is not None:
        reason = f"makes the loss {_word(probe.loss)}: {probe.event.what} {probe.event.place.where}"
    else:
        reason = f"makes the loss {_word(probe.loss)}"
    fixes = []
    if bad:
        case.note(f"{place} left out", "the batch is finite", True)
        fixes.append(
            Fix(f"leave {place} out, or mend its data", (_without_examples(case, step, bad),), case.before(step))
        )
    fixes.append(Fix(f"skip batch {step}, and what is like it", (skip_bad(case, step),), case.before(step)))
    if holds is not None:
        fixes.append(Fix("leave out every batch that is not finite", (skip_nonfinite(),), case.before(step)))
    return Finding(
        "batch", place, step, f"{place} {reason}; other batches are fine with the same weights", tuple(fixes)
    )


def skip_bad(case: Case, step: int) -> Change:
    """Leave out the batch of a step, whenever it comes."""
    return without(same_batch(case, step), f"batch {step} skipped")


def skip_nonfinite() -> Change:
    """Skip the batches that contain NaN or infinity."""
    return with_batches(
        lambda index, batch: SKIP if examples.nonfinite(batch) else batch, "batches that are not finite skipped"
    )


def same_batch(case: Case, step: int) -> Callable[[int], bool]:
    """Return whether a step has the batch of another one: the same step, or one a whole number of epochs away."""
    period = case.run.period
    return lambda index: index == step or (period is not None and index % period == step % period)


def named(bad: Sequence[int]) -> str:
    """Return the numbers of examples in words.

    >>> named([3]), named([1, 4])
    ('example 3', 'examples 1 and 4')
    """
    return f"example{'s' if len(bad) > 1 else ''} {' and '.join(str(example) for example in sorted(bad))}"


def _without_examples(case: Case, step: int, bad: Sequence[int]) -> Change:
    is_same = same_batch(case, step)

    def replaced(index: int, batch: object) -> object:
        if is_same(index):
            left = [each for each in range(examples.count(batch)) if each not in bad]
            return examples.subset(batch, left) if left else SKIP
        return batch

    return with_batches(replaced, f"{named(bad)} of batch {step} left out")


def _word(loss: float) -> str:
    return "NaN" if math.isnan(loss) else f"{loss:g}"

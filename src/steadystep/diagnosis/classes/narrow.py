"""What a narrow floating type cannot hold: in the model (range), or in the optimizer (optimizer-precision)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steadystep.diagnosis.case import Case, Probe
from steadystep.diagnosis.changes import Change, option
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.operations import Seen
from steadystep.diagnosis.play import Step
from steadystep.diagnosis.precision import NARROW, wide_batch, widened
from steadystep.diagnosis.race import learns_far_more, try_fix
from steadystep.diagnosis.run import Run
from steadystep.diagnosis.trouble import Trouble

LOST = 0.5
"""The share of the elements that a step leaves as they are, from which on updates count as lost."""
COUNTS = (60, 200)
"""Steps after which a run is compared with one in float32, the later ones if the earlier ones do not decide."""
GAIN = 0.1
"""The share of the start's loss by which a run in float32 must end lower."""


def uses_narrow(case: Case, seen: Seen) -> bool:
    """Whether the run computes in a narrow type anywhere."""
    types = {parameter.dtype for _, parameter in case.run.parameters()} | seen.dtypes
    return bool(types & set(NARROW))


def in_float32(case: Case) -> tuple[Change, ...]:
    """Return the changes by which a replay computes in float32."""

    @contextmanager
    def around(run: Run) -> Iterator[None]:
        with widened(run, torch.float32):
            yield

    return (Change("float32", around=around, convert=lambda batch: wide_batch(batch, torch.float32)),)


def investigate_range(case: Case, trouble: Trouble, probe: Probe) -> Finding | None:
    """Ask whether the same step is finite in float32."""
    if not uses_narrow(case, probe.seen) or probe.is_finite:
        return None
    wide = case.probe(case.at(trouble.step), case.run.batch(trouble.step), dtype=torch.float32)
    case.note("the same step in float32", "finite" if wide.is_finite else "not finite either", wide.is_finite)
    event = probe.event
    if not wide.is_finite or event is None:
        return None
    info = torch.finfo(event.dtype)
    name = str(event.dtype).removeprefix("torch.")
    sentence = f"{event.place.words} leaves the range of {name}, which ends at {info.max:g}: {event.what}"
    if event.phase == "backward" or " 0" in event.what:
        sentence = (
            f"{event.what} {event.place.where}: {name} has no number between 0 and {info.tiny * info.eps:.2g}, and "
            f"none above {info.max:g}"
        )
    return Finding(
        "range",
        str(event.place),
        trouble.step,
        f"{sentence}; in float32 the same step is finite",
        (Fix(f"compute {event.place.words} in float32, or in bfloat16", in_float32(case), case.before(trouble.step)),),
    )


def investigate_underflow(case: Case) -> Finding | None:
    """Ask whether gradients that are 0 in a narrow type are not in float32, where the run learns far more."""
    probe = case.probe(case.start, case.run.batch(case.first), look=True)
    if not uses_narrow(case, probe.seen) or not probe.is_finite or not probe.gradients:
        return None
    zero = sum(int((gradient == 0).sum()) for gradient in probe.gradients.values())
    total = sum(gradient.numel() for gradient in probe.gradients.values())
    wide = case.probe(case.start, case.run.batch(case.first), dtype=torch.float32)
    there = sum(int((gradient != 0).sum()) for gradient in wide.gradients.values())
    if zero < LOST * total or there < LOST * total:
        return None
    fix = Fix("multiply the loss by a scale, with torch.amp.GradScaler, or compute in float32", in_float32(case))
    given, tried = try_fix(case, Fix("", ())), try_fix(case, fix)
    gains = learns_far_more(case, tried, given)
    case.note("the run in float32", tried.words, gains)
    last = next((call.place for call in reversed(probe.seen.calls) if _is_narrow(call.result)), None)
    if not gains or last is None:
        return None
    name = next(str(kind) for kind in NARROW if kind in probe.seen.dtypes).removeprefix("torch.")
    return Finding(
        "range",
        str(last),
        case.first,
        f"{zero / total:.0%} of the gradients are 0, because they are too small for {name} on their way back through "
        f"{last.words}; in float32 they are not",
        (fix,),
    )


def _is_narrow(result: object) -> bool:
    return isinstance(result, torch.Tensor) and result.dtype in NARROW


def investigate_lost_updates(case: Case) -> Finding | None:
    """Ask whether updates are rounded away: most elements do not change, and in float32 the run learns clearly more."""
    types = {parameter.dtype for _, parameter in case.run.parameters()} & set(NARROW)
    if not types or (lost := _share_unchanged(case)) < LOST:
        return None
    if not any(_gains(case, count) for count in sorted({min(count, case.planned) for count in COUNTS})):
        return None
    name = str(types.pop()).removeprefix("torch.")
    return Finding(
        "optimizer-precision",
        f"parameters in {name}",
        case.first,
        f"{lost:.0%} of the elements of the parameters do not change in a step: the updates are too small for {name}, "
        "and are rounded away",
        (Fix("keep parameters and moments in float32, and cast the model's inputs", in_float32(case)),),
    )


def _gains(case: Case, count: int) -> bool:
    """Whether the run has learned clearly more after some steps in float32."""
    given, wide = case.replay(case.first, count).end, case.replay(case.first, count, *in_float32(case)).end
    gains = given - wide > GAIN * case.level
    case.note(f"{count} steps in float32", f"the loss ends at {wide:.4g} instead of {given:.4g}", gains)
    return gains


def _share_unchanged(case: Case) -> float:
    """Return the share of the elements with a gradient that a step leaves as they are."""
    moment = case.at(min(case.first + 2, case.last))
    case.run.put_back(moment)
    before = {name: parameter.detach().clone() for name, parameter in case.run.parameters()}
    gradients = case.probe(moment, case.run.batch(case.first + 2)).gradients
    case.play(moment, case.first + 2, 1)
    same = total = 0
    for name, parameter in case.run.parameters():
        if name in gradients:
            moved = gradients[name] != 0
            same += int((moved & (parameter.detach() == before[name])).sum())
            total += int(moved.sum())
    return same / total if total else 0.0


def investigate_optimizer(case: Case, trouble: Trouble, probe: Probe) -> Finding | None:
    """Ask whether the optimizer's arithmetic, and not the gradients, is at fault."""
    narrow = {parameter.dtype for _, parameter in case.run.parameters()} & set(NARROW)
    if not narrow or not probe.is_finite:
        return None
    dtype = narrow.pop()
    name = str(dtype).removeprefix("torch.")
    first = case.before(trouble.step)
    length = trouble.step - first + 5
    groups = case.run.optimizer.param_groups
    eps = groups[0].get("eps")
    fixes = [Fix("keep parameters and moments in float32, and cast the model's inputs", in_float32(case), first)]
    place, sentence = "", ""
    if isinstance(eps, float) and float(torch.tensor(eps, dtype=dtype)) == 0:
        larger = 1e-4 if dtype is torch.float16 else 1e-6
        played = case.replay(first, length, option("eps", larger))
        cured = played.broken is None and played.error is None
        case.note(f"eps={larger:g}", "finite" if cured else "not finite", cured)
        if cured:
            place = "eps"
            sentence = f"eps={eps:g} is 0 in {name}: the optimizer divides by the root of second moments that are 0"
            fixes.append(Fix(f"set eps={larger:g}", (option("eps", larger),), first))
    if not place:
        played = case.replay(first, length, *in_float32(case))
        cured = played.broken is None and played.error is None and not _rests(played.steps)
        case.note("parameters and moments in float32", "sound" if cured else "not sound", cured)
        if not cured:
            return None
        place = trouble_place(case, trouble)
        sentence = f"the gradients are finite, but the optimizer's step in {name} is not sound for {place}"
        if trouble.is_standstill:
            sentence = f"the updates are too small for {name}: adding them changes nothing"
    return Finding("optimizer-precision", place, trouble.step, sentence, tuple(fixes))


def trouble_place(case: Case, trouble: Trouble) -> str:
    """Return the first parameter that is not finite, or the type's name."""
    names = case.steps[-1].nonfinite_parameters
    return names[0] if names else "parameters"


def _rests(steps: list[Step]) -> bool:
    return bool(steps) and all(step.update == 0 for step in steps)


def investigate_eps(case: Case, probe: Probe) -> Finding | None:
    """Ask whether gradients are so small that the optimizer's eps hides them."""
    eps = case.run.optimizer.param_groups[0].get("eps")
    if not isinstance(eps, float) or not probe.is_finite or not probe.gradients:
        return None
    elements = sum(gradient.numel() for gradient in probe.gradients.values())
    size = probe.norm / max(elements, 1) ** 0.5
    if not 0 < size < eps:
        return None
    smaller = float(f"{max(size * 1e-6, 1e-30):.0e}")
    fix = Fix(
        f"set eps={smaller:g}, or scale the loss so that gradients are of the order of 1", (option("eps", smaller),)
    )
    given, tried = try_fix(case, Fix("", ())), try_fix(case, fix)
    gains = learns_far_more(case, tried, given)
    case.note(f"eps={smaller:g}", tried.words, gains)
    if not gains:
        return None
    return Finding(
        "optimizer-precision",
        "eps",
        case.first,
        f"the gradients are of the order of {size:.1g}, far below eps={eps:g}, which therefore decides the size of the "
        "updates: nothing is learned",
        (fix,),
    )

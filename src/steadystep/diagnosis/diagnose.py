"""Run a run to its trouble, ask each class of failures in turn, and race the fixes."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steadystep.diagnosis import examples
from steadystep.diagnosis.boxed_run import BoxedRun
from steadystep.diagnosis.case import HORIZON, Case
from steadystep.diagnosis.classes import (
    accumulation,
    batch,
    clip_order,
    initialisation,
    learning_rate,
    narrow,
    operation,
    optimizer_state,
    outlier,
    transient,
    wrong_loss,
)
from steadystep.diagnosis.classes.gradients_of_steps import pairs
from steadystep.diagnosis.culprit import Finding
from steadystep.diagnosis.kept import kept
from steadystep.diagnosis.play import Step
from steadystep.diagnosis.race import Tried, try_fix, usual
from steadystep.diagnosis.recorded import compare
from steadystep.diagnosis.result import Diagnosis, Evidence
from steadystep.diagnosis.run import Run
from steadystep.diagnosis.trouble import DAMAGE, Trouble, first_damage, stalled, trouble_of
from steadystep.recorder.folder import load

PATIENCE = 10.0
"""Seconds after which what people usually try is no longer tried beside a fix that holds."""
EARLY = 5
"""A trouble before this step can come from the weights of the start."""

Tell = Callable[[str, float | None], None]


def _silent(text: str, share: float | None) -> None:
    pass


def diagnose(
    run: Any,
    *,
    steps: int | None = None,
    box: str | Path | None = None,
    keep: str | Path | None = None,
    tell: Tell = _silent,
) -> Diagnosis:
    """Find out what is wrong with a training run, and which fix holds.

    The run is played until something is wrong or to its end. Then single factors are swapped in replays from its own
    snapshots: the batch, the weights, the optimizer's state, the precision, the learning rate, clipping, or one
    function of the model. A culprit is named only if a swap decides the outcome. Its fix is replayed for 200 steps.
    Afterwards the run's state, its gradients and all random generators are as before, to the last bit.

    Args:
        run: an object with ``model``, ``optimizer``, ``loss(model, batch)``, which returns a scalar tensor, and
            ``batches``, a sequence, or ``batch(index)``. If a training step is more than ``zero_grad``, ``backward``
            and ``step``, also ``step(run, batch)``, which returns the loss as a float. A ``scaler`` and a ``scheduler``
            are used if the run has them.
        steps: steps to play. Default: one pass over the batches, at least 200 steps and at most 1,000.
        box: the folder of a black box. The run then starts at the box's oldest snapshot, and its batches are the
            box's as far as it has them. Default: the run as it is.
        keep: the folder of a black box under which the run is played. Default: it is played without one.
        tell: called with what is being done, and with the share of it that is done or None.

    Raises:
        RunError: a ValueError, if the run lacks something or does not fit the box.
        BrokenBoxError: a ValueError, if the box cannot be read.

    >>> import torch, steadystep
    >>> from types import SimpleNamespace
    >>> model = torch.nn.Linear(1, 1)
    >>> x = torch.linspace(-1, 1, 8)[:, None]
    >>> run = SimpleNamespace(
    ...     model=model,
    ...     optimizer=torch.optim.SGD(model.parameters(), lr=20.0),
    ...     loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
    ...     batches=[(x, 2 * x)],
    ... )
    >>> found = steadystep.diagnose(run)
    >>> found.culprit, found.place, found.verified
    ('learning-rate', 'lr', True)
    """
    given = Run(run) if box is None else BoxedRun(run, load(Path(box)))
    with kept(given):
        given.begin()
        case = Case(given, steps, tell, None if keep is None else Path(keep))
        trouble = trouble_of(case)
        if trouble is not None:
            case.save_box()
        finding = _find(case, trouble, tell)
        trouble = compare(case, trouble) if finding is None else trouble
        if finding is None and trouble is not None and trouble.kind in ("spike", "rise"):
            trouble = stalled(case)  # if the run has learned, what nothing decides was noise
            finding = None if trouble is None else _finite(case, trouble, tell)
        if finding is None and trouble is not None and trouble.passes:
            trouble = None
        if finding is None:
            return _nobody(case, trouble)
        tell(f"trying fixes for {finding.culprit}", None)
        return _with_fix(case, trouble, finding)


def _find(case: Case, trouble: Trouble | None, tell: Tell) -> Finding | None:
    tell("comparing gradients with a replay", None)
    if case.run.has_own_step and (compared := pairs(case)):
        found = accumulation.investigate(case, compared) or clip_order.investigate(case, compared)
        if found is not None:
            return found
    tell("looking at the loss", None)
    if (found := wrong_loss.investigate(case)) is not None:
        return found
    if trouble is None:
        return _quiet(case, tell)
    if trouble.kind == "error":
        return batch.investigate(case, trouble)
    if (found := clip_order.investigate_unbound(case) or accumulation.investigate_added(case)) is not None:
        return found
    tell("replaying the trouble", None)
    replays, found = transient.investigate(case, trouble)
    if not replays:
        return found
    if trouble.is_nonfinite:
        return _nonfinite(case, trouble, tell)
    return _finite(case, trouble, tell)


def _quiet(case: Case, tell: Tell) -> Finding | None:
    """Look for what keeps a run from learning as much as it could: layers, and updates that are rounded away."""
    if len(case.steps) < 20:
        return None
    tell("looking at the layers, the precision and the optimizer's state", None)
    return (
        narrow.investigate_underflow(case)
        or narrow.investigate_lost_updates(case)
        or initialisation.investigate(case, early=False)
        or optimizer_state.investigate_stale(case)
    )


def _nonfinite(case: Case, trouble: Trouble, tell: Tell) -> Finding | None:
    step = trouble.step
    probe = case.probe(case.at(step), case.run.batch(step), look=True)
    if examples.nonfinite(case.run.batch(step)) and (found := batch.investigate(case, trouble)) is not None:
        return found
    tell("swapping the precision", None)
    if (found := narrow.investigate_range(case, trouble, probe)) is not None:
        return found
    tell("swapping the batch and the weights", None)
    if not probe.is_finite and (found := batch.investigate(case, trouble)) is not None:
        return found
    tell("swapping a function", None)
    if not probe.is_finite and (fix := operation.mended(case, trouble, probe)) is not None:
        return operation.investigate(case, trouble, probe, fix)
    risen = _risen_before(case, trouble)
    if risen is not None and (found := _finite(case, risen, tell)) is not None:
        return found
    if step - case.first <= EARLY and (found := initialisation.investigate(case, early=True)) is not None:
        return found
    if not probe.is_finite:
        found = operation.investigate(case, trouble, probe, None)
        return found or learning_rate.investigate(case, trouble, _sound_before(case, trouble))
    tell("swapping the optimizer's state and precision", None)
    return (
        narrow.investigate_optimizer(case, trouble, probe)
        or optimizer_state.investigate(case, trouble)
        or _finite(case, trouble, tell)
    )


def _risen_before(case: Case, trouble: Trouble) -> Trouble | None:
    """Return the divergence that a value that is not finite is only the end of, or None."""
    recorded = [step for step in case.good_moments() if step < trouble.step]
    steps = sorted({*recorded, *range(case.before(trouble.step, 5), trouble.step + 1)})
    before = trouble.step - 1
    if before >= case.first and math.isnan(case.reference(trouble.step)) and _is_thrown_off(case.step(before)):
        words = f"step {before} changes the parameters by {case.step(before).update:.3g}, which is most of them"
        return Trouble("diverged", before, f"{trouble.words}; {words}")
    finite = [(case.reference(step), step) for step in steps if math.isfinite(case.reference(step))]
    if not finite:
        return None
    best, best_at = min(finite)
    after = [pair for pair in finite if pair[1] > best_at]
    if not after or max(after)[0] - best < DAMAGE * case.level:
        return None
    worst, worst_at = max(after)
    step = first_damage(case, best_at, worst_at, best, worst)
    return Trouble(
        "diverged",
        step,
        f"{trouble.words}; the loss of the same batches rises from {best:.3g} to {worst:.3g} after step {step}",
    )


def _is_thrown_off(step: Step) -> bool:
    """Whether an update is about as large as the parameters that it has led to."""
    return step.update > 0.5 * step.weight or math.isinf(step.update)  # the norm overflows before the values do


def _finite(case: Case, trouble: Trouble, tell: Tell) -> Finding | None:
    tell("swapping the optimizer's state", None)
    if (found := optimizer_state.investigate(case, trouble)) is not None:
        return found
    if trouble.is_standstill:
        probe = case.probe(case.start, case.run.batch(case.first), look=True)
        tell("swapping the layers and the precision", None)
        return (
            initialisation.investigate(case, early=False)
            or narrow.investigate_underflow(case)
            or narrow.investigate_lost_updates(case)
            or narrow.investigate_optimizer(case, trouble, probe)
            or narrow.investigate_eps(case, probe)
            or learning_rate.too_large_to_learn(case)
            or learning_rate.too_small(case)
        )
    tell("clipping, and leaving the batch out", None)
    if (found := outlier.investigate(case, trouble)) is not None or trouble.kind == "spike":
        return found
    if trouble.step - case.first <= EARLY and (found := initialisation.investigate(case, early=True)) is not None:
        return found
    tell("swapping the learning rate", None)
    return learning_rate.investigate(case, trouble, _sound_before(case, trouble))


def _sound_before(case: Case, trouble: Trouble) -> int:
    """Return the step of the last recorded moment that lies clearly before a trouble."""
    return max(step for step in case.good_moments() if step <= case.before(trouble.step, 5))


def _with_fix(case: Case, trouble: Trouble | None, finding: Finding) -> Diagnosis:
    stuck = trouble is not None and trouble.is_standstill
    tried: list[Tried] = []
    for fix in finding.fixes:
        tried.append(try_fix(case, fix, progress=stuck))
        if tried[-1].holds:
            break
    best = next((each for each in tried if each.holds), None)
    others = [
        try_fix(case, fix, HORIZON // 2, progress=stuck)
        for fix in usual(case, tried[0].first)
        if best is None or time.perf_counter() - case.started < PATIENCE
    ]
    return Diagnosis(
        culprit=finding.culprit,
        place=finding.place,
        step=finding.step,
        sentence=finding.sentence,
        fix=(best or tried[0]).fix.words if tried else "",
        verified=best is not None,
        held=best.held if best else max((each.held for each in tried), default=0),
        evidence=tuple(case.evidence),
        race=tuple(Evidence(each.fix.words, each.words, each.holds) for each in (*tried, *others)),
        trouble=trouble.words if trouble else "",
        losses=tuple(step.loss for step in case.steps),
        norms=tuple(step.gradient for step in case.steps),
        recording=case.recording,
    )


def _nobody(case: Case, trouble: Trouble | None) -> Diagnosis:
    """Return what is said of a healthy run, or of one whose culprit is not proven."""
    fix, held, race = "", 0, []
    if trouble is None:
        first, last = case.reference(case.first), case.reference(case.good_moments()[-1])
        sentence = f"the run is healthy: {len(case.steps)} steps, loss {first:.4g} -> {last:.4g} on the same batches"
    else:
        sentence = f"{trouble.words}; no single factor that was swapped decides the outcome"
        if not case.replayable:
            sentence = (
                f"{trouble.words}; two replays of the same steps differ, so that no replay can prove anything: the "
                "same index must give the same batch, and random numbers must come from a seeded generator"
            )
        elif trouble.kind == "unseen":
            sentence = trouble.words
        elif trouble.kind != "error":
            for candidate in usual(case, case.before(trouble.step)):
                tried = try_fix(case, candidate)
                race.append(Evidence(candidate.words, tried.words, tried.holds))
                if tried.holds and not fix:
                    fix, held = candidate.words, tried.held
    return Diagnosis(
        culprit=None,
        place="",
        step=trouble.step if trouble else None,
        sentence=sentence,
        fix=fix,
        verified=bool(fix),
        held=held,
        evidence=tuple(case.evidence),
        race=tuple(race),
        trouble=trouble.words if trouble else "",
        losses=tuple(step.loss for step in case.steps),
        norms=tuple(step.gradient for step in case.steps),
        recording=case.recording,
    )

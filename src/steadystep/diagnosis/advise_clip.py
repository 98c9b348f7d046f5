"""Advise on a clipping threshold from the gradient norms of a box, and replay it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steadystep.diagnosis.boxed_run import BoxedRun
from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change, clipped
from steadystep.diagnosis.culprit import Fix
from steadystep.diagnosis.kept import kept
from steadystep.diagnosis.race import try_fix
from steadystep.diagnosis.result import Evidence
from steadystep.recorder.folder import load
from steadystep.recorder.recording import Recording

WARM_UP = 0.1
FEWEST = 30
"""Norms that a threshold is taken from at least."""
HEAVY = 2.0
"""A Hill index below it means that the variance of the norms is not finite."""
DRIFT = 2.0
REPLAYED = 50
THRESHOLD = 2
"""The place of the threshold itself among the candidates."""
DIFFERS = 0.02
"""The share of the loss by which two replays must end apart to count as different."""


@dataclass(frozen=True)
class Advice:
    """A threshold for clipping by the global norm, and why.

    Attributes:
        threshold: the threshold; None if no clipping is needed, or if none can be told.
        purpose: "insurance", "heavy tails" or "instability"; "" if there is none.
        clipped: the share of the recorded steps that the threshold would have clipped.
        sentence: the advice in a sentence or two.
        warnings: what makes the advice uncertain.
        evidence: what was measured and replayed.
    """

    threshold: float | None
    purpose: str
    clipped: float
    sentence: str
    warnings: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def advise_clip(box: str | Path | Recording, run: Any = None) -> Advice:
    r"""Advise on the threshold of clipping by the global norm from a recorded run.

    The purpose decides. As an insurance against a rare bad step, the threshold is the 99th percentile of the norms
    after the warm-up. With heavy tails it is the 90th percentile; the tails are heavy if the Hill estimator

    $$\hat\alpha = \Bigl(\tfrac1k \sum_{i=1}^{k} \log \frac{x_{(i)}}{x_{(k+1)}}\Bigr)^{-1}$$

    over the largest tenth of the norms is below 2. If the loss has risen after a step with a large gradient, it is the
    90th percentile of the norms before that step. With `run`, a third of the threshold, the threshold, three times it
    and no clipping are replayed from the box, and clipping is advised only if it makes a difference.

    Args:
        box: the folder of a black box, or its recording.
        run: the run, as for `diagnose`. Default: nothing is replayed.

    Raises:
        ValueError: if the box cannot be read, or holds too few steps.

    Source: B. M. Hill (1975), A simple general approach to inference about the tail of a distribution.
    """
    recording = box if isinstance(box, Recording) else load(Path(box))
    trigger = recording.trigger
    norms = recording.total
    calm = norms if trigger is None else norms[recording.steps < trigger.step]
    calm = calm[int(WARM_UP * len(calm)) :]
    calm = calm[np.isfinite(calm) & (calm > 0)]
    if len(calm) < FEWEST:
        raise ValueError(
            f"a threshold needs the norms of at least {FEWEST} sound steps after the warm-up, "
            f"and the box has {len(calm)}"
        )
    index = hill_index(calm)
    unstable = trigger is not None and trigger.kind in ("loss spike", "update spike")
    purpose = "instability" if unstable else "heavy tails" if index < HEAVY else "insurance"
    threshold = float(np.quantile(calm, 0.99 if purpose == "insurance" else 0.9))
    middle, most, nearly_all = np.quantile(calm, (0.5, 0.9, 0.99))
    evidence = [
        Evidence("gradient norms", f"median {middle:.3g}, 90% {most:.3g}, 99% {nearly_all:.3g}"),
        Evidence("Hill index", f"{index:.2g}: the tails are {'heavy' if index < HEAVY else 'light'}"),
    ]
    share = float((calm > threshold).mean())
    use = "an insurance" if purpose == "insurance" else f"a cure for {purpose}"
    sentence = f"clip to a global norm of {threshold:.2g}, as {use}: it clips {share:.0%} of the steps"
    if run is not None:
        needed, replayed = _replayed(recording, run, threshold)
        evidence += replayed
        if needed is None:
            return Advice(
                None,
                "",
                0.0,
                f"no threshold can be told: clipped to {threshold:.2g}, the replay fails too; the doctor without "
                "--clip looks for the reason",
                _warnings(recording, calm),
                tuple(evidence),
            )
        if not needed and purpose == "insurance":
            return Advice(
                None,
                "",
                0.0,
                f"no clipping is needed: with {threshold / 3:.2g}, {threshold:.2g}, {3 * threshold:.2g} and without it "
                "the replay ends at the same loss",
                _warnings(recording, calm),
                tuple(evidence),
            )
    return Advice(threshold, purpose, share, sentence, _warnings(recording, calm), tuple(evidence))


def hill_index(norms: np.ndarray) -> float:
    """Return the Hill estimator of the tail index, over the largest tenth; infinity if these are all the same.

    >>> rng = np.random.default_rng(0)
    >>> bool(1.3 < hill_index(rng.pareto(1.5, 20_000) + 1) < 1.7)
    True
    """
    ordered = np.sort(norms)[::-1]
    count = max(5, len(ordered) // 10)
    mean = float(np.mean(np.log(ordered[:count] / ordered[count])))
    return 1 / mean if mean > 0 else math.inf


def _warnings(recording: Recording, norms: np.ndarray) -> tuple[str, ...]:
    found = []
    third = len(norms) // 3
    early, late = float(np.median(norms[:third])), float(np.median(norms[-third:]))
    if max(early, late) > DRIFT * min(early, late):
        found.append(f"the norms drift from {early:.3g} to {late:.3g}: a fixed threshold fits only a part of the run")
    if "adam" in str(recording.about.get("optimizer", "")).lower():
        found.append(
            "Adam divides by the size of its gradients, so that a constant factor cancels: only steps that are clipped "
            "more than their neighbours change anything"
        )
    return tuple(found)


def _replayed(recording: Recording, run: Any, threshold: float) -> tuple[bool | None, list[Evidence]]:
    """Return whether the threshold makes a difference in replay, and what came of each.

    The first is None if the threshold itself fails in replay.
    """
    given = BoxedRun(run, recording)
    evidence = []
    with kept(given):
        given.begin()
        case = Case(given, REPLAYED, lambda text, share: None)
        ends = []
        for label, changes in _candidates(threshold):
            tried = try_fix(case, Fix(label, changes, case.first), min(REPLAYED, len(case.steps)))
            evidence.append(Evidence(label, tried.words, math.isfinite(tried.after)))
            ends.append(tried.after)
        evidence.append(
            Evidence(
                "bias of clipping",
                f"the mean clipped and the mean raw gradient have cosine {_cosine(case, threshold):.3f}",
            )
        )
    if not math.isfinite(ends[THRESHOLD]):
        return None, evidence
    level = max(abs(end) for end in ends) if all(map(math.isfinite, ends)) else math.inf
    return not math.isfinite(level) or max(ends) - min(ends) > DIFFERS * level, evidence


def _candidates(threshold: float) -> list[tuple[str, tuple[Change, ...]]]:
    bounds = [(f"clip to {factor * threshold:.2g}", (clipped(factor * threshold),)) for factor in (1 / 3, 1.0, 3.0)]
    return [("no clipping", ()), *bounds]


def _cosine(case: Case, threshold: float) -> float:
    """Return the cosine between the mean of the batches' gradients and that of their clipped ones, at the start."""
    raw = clip = None
    for index in range(case.first, case.first + min(20, len(case.steps))):
        gradients = case.probe(case.start, case.run.batch(index)).gradients
        vector = torch.cat([gradient.double().flatten() for gradient in gradients.values()])
        if not bool(torch.isfinite(vector).all()):
            continue
        limited = vector * min(1.0, threshold / max(float(vector.norm()), 1e-300))
        raw, clip = (vector, limited) if raw is None or clip is None else (raw + vector, clip + limited)
    return math.nan if raw is None or clip is None else float(raw @ clip / (raw.norm() * clip.norm()))

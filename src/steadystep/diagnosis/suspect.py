"""What the records of a box say by themselves, without the run: suspected, never verified."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from steadystep.diagnosis import examples
from steadystep.diagnosis.result import Diagnosis, Evidence
from steadystep.recorder.folder import load
from steadystep.recorder.recording import Recording

JUMP = 5.0
"""A learning rate or a norm this many times the one before is remarkable."""


def suspect(folder: Path) -> Diagnosis:
    """Return what a box lets suspect. Nothing is replayed, and so no culprit is named.

    Raises:
        BrokenBoxError: if the box cannot be read.
    """
    recording = load(folder)
    trigger = recording.trigger
    seen = list(_signs(recording))
    trouble = (
        ""
        if trigger is None
        else f"{trigger.kind} at step {trigger.step}{f': {trigger.detail}' if trigger.detail else ''}"
    )
    if trigger is None:
        sentence = f"the box was saved by hand after {len(recording.steps)} steps: nothing has triggered it"
    elif seen:
        sentence = f"{trouble}; suspected, not verified: {seen[0].swap} ({seen[0].outcome})"
    else:
        sentence = f"{trouble}; the records do not say why"
    return Diagnosis(
        culprit=None,
        place="",
        step=None if trigger is None else trigger.step,
        sentence=sentence,
        fix="" if trigger is None else "replay the box with the run: add --run FILE.py:make_run",
        evidence=tuple(seen),
        trouble=trouble,
        losses=tuple(map(float, recording.loss)),
        norms=tuple(map(float, recording.total)),
        recording=recording,
    )


def _signs(recording: Recording) -> Iterator[Evidence]:
    """Yield what is remarkable about the steps up to the trigger."""
    if recording.trigger is None:
        return
    step = recording.trigger.step
    batch = recording.batches.get(step)
    if batch is not None and (found := examples.nonfinite(batch)) is not None:
        example, what = found
        yield Evidence(
            "the batch", f"{'' if example is None else f'example {example} of '}batch {step} contains {what}", False
        )
    rows = recording.steps <= step
    rates = recording.lr[rows]
    if len(rates) > 1:
        earlier, later = rates[:-1, 0], rates[1:, 0]
        jumps = np.divide(later, earlier, out=np.ones(len(later)), where=earlier > 0)  # a warm-up may start at 0
        if (jumps > JUMP).any():
            at = int(np.argmax(jumps))
            yield Evidence(
                "the learning rate", f"it rises {jumps[at]:.3g} times at step {recording.steps[rows][at + 1]}", False
            )
    total = recording.total[rows]
    before = total[:-1][np.isfinite(total[:-1])]
    if len(before) and np.isfinite(total[-1]) and total[-1] > JUMP * np.median(before):
        yield Evidence(
            "the gradient", f"its norm is {total[-1]:.3g} at step {step}, and usually {np.median(before):.3g}", False
        )
    last = recording.gradient[rows][-1:]
    if last.size and not np.isfinite(last).all():
        names = [name for name, value in zip(recording.names, last[0], strict=True) if not np.isfinite(value)]
        if len(names) < len(recording.names):
            yield Evidence("some gradients", f"not finite: {', '.join(names[:3])}", False)

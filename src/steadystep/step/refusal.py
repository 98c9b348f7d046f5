"""The error of a step that is refused under ``nonfinite="raise"``, and what it names."""

from collections.abc import Sequence

import torch

from steadystep.clipping.norms import GradNorms
from steadystep.gradients.gradient_set import GradientSet
from steadystep.step.errors import NonFiniteGradientError, NonFiniteLossError, StepError
from steadystep.step.fields import AT
from steadystep.step.ledger import last_reason
from steadystep.step.trouble import first_of, looks_like
from steadystep.tracing.ops import Number, isfinite


def error_of(before: GradNorms, after: GradNorms, gradients: GradientSet, ledger: Sequence[float]) -> StepError:
    """Return the error of a step that is refused under ``nonfinite="raise"`` and recorded in the ledger."""
    nonfinite = nonfinite_names(before)
    largest = zip(gradients.names, after.abs_max.tolist(), gradients.square_limits.tolist(), strict=True)
    too_large = {
        name: f"{name} (largest element {peak:.3g})"
        for name, peak, limit in largest
        if name not in nonfinite and not peak <= limit
    }
    reason = last_reason(ledger)
    unchanged = "parameters and state are unchanged"
    what = looks_like(ledger, reason), int(ledger[AT["attempted"]])
    norms = norms_by_name(gradients.names, before.norms)
    if nonfinite:
        problem = f"non-finite gradient in {first_of(nonfinite)}; {unchanged}"
        return NonFiniteGradientError(problem, *what, nonfinite, reason, norms)
    if too_large:
        problem = f"the square of the gradient overflows in {first_of(list(too_large.values()))}; {unchanged}"
        return NonFiniteGradientError(problem, *what, list(too_large), reason, norms)
    return NonFiniteLossError(f"the loss is not finite, and the gradients are; {unchanged}", *what, (), reason, norms)


def nonfinite_names(measured: GradNorms) -> list[str]:
    """Return the names of the gradients that are not finite; this waits for the device."""
    peaks = zip(measured.gradients.names, measured.abs_max.tolist(), strict=True)
    return [name for name, peak in peaks if not isfinite(peak)]


def norms_by_name(names: Sequence[str], norms: Number) -> dict[str, float]:
    """Return measured norms by the names of their gradients; this waits for the device."""
    return dict(zip(names, norms.tolist(), strict=True))


def at_fault(names: Sequence[str], faults: torch.Tensor) -> list[str]:
    """Return the names of the tensors that have been at fault for a refused step, the most frequent first."""
    counts = dict(zip(names, faults.tolist(), strict=True))
    return sorted((name for name in names if counts[name]), key=lambda name: -counts[name])

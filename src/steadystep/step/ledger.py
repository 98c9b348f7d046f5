"""The ledger, which counts on the device what happened to every step and is read only on request."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from steadystep.tracing.graph import Graph
from steadystep.tracing.ops import Number, isfinite, where
from steadystep.tracing.verdict import Verdict, load_entries, store_entries

FIELDS = (
    "attempted",
    "applied",
    "skipped_nonfinite",
    "skipped_overflow",
    "skipped_outlier",
    "consecutive_skips",
    "clipped",
    "norm_before",
    "norm_after",
    "running_norm_before",
    "running_norm_after",
    "running_weight",
    "infinite_under_scaler",
)
"""The entries of the ledger's float64 vector. As one tensor it travels in `state_dict`."""

AT = {name: index for index, name in enumerate(FIELDS)}
"""The position of each entry."""

RUNNING_DECAY = 0.99
"""The decay of the running norms, exponential averages over the applied steps that are corrected for their start."""

CALIBRATION = 32
"""Infinite steps in a row that a GradScaler may take to find its scale: halved as often, 2**32 is 1."""

_COUNTS = FIELDS[:7]


def blank(device: torch.device) -> torch.Tensor:
    """Return the ledger of an optimizer that has not stepped yet."""
    unmeasured = float("nan")
    start = [unmeasured if name in ("norm_before", "norm_after") else 0.0 for name in FIELDS]
    return torch.tensor(start, dtype=torch.float64, device=device)


def record_unmeasured(ledger: torch.Tensor) -> None:
    """Record a step that was applied without measuring its gradients."""
    ledger[AT["attempted"]] += 1
    ledger[AT["applied"]] += 1


def record(
    ledger: torch.Tensor,
    before: Number,
    after: Number,
    verdict: Verdict,
    clipped: Number,
    reasons: Mapping[str, Number],
    calibrating: Number,
) -> None:
    """Record one measured step.

    Args:
        ledger: the ledger's vector.
        before: the global norm before clipping.
        after: the global norm after clipping.
        verdict: whether the step is applied.
        clipped: whether any clipper changes anything.
        reasons: for each count of skipped steps whether it applies.
        calibrating: whether a GradScaler is still finding its scale; a skip then is not one in a row.
    """
    accept = verdict.accept
    entries = load_entries(ledger, verdict.graph)

    def add(name: str, number: Number) -> None:
        entries[AT[name]] = entries[AT[name]] + number

    add("attempted", 1)
    add("applied", accept)
    for reason, applies in reasons.items():
        add(reason, applies)
    in_a_row = entries[AT["consecutive_skips"]]
    entries[AT["consecutive_skips"]] = where(accept, 0.0, where(calibrating, in_a_row, in_a_row + 1))
    add("clipped", accept & clipped)
    entries[AT["norm_before"]] = before
    entries[AT["norm_after"]] = after
    # A norm that is not finite is reported as the last one, but would stay in a running average for ever.
    counts = accept & isfinite(before)
    for name, value in (("running_norm_before", before), ("running_norm_after", after), ("running_weight", 1.0)):
        entry = entries[AT[name]]
        entries[AT[name]] = where(counts, RUNNING_DECAY * entry + (1 - RUNNING_DECAY) * value, entry)
    store_entries(ledger, entries, verdict.graph)


def still_calibrating(ledger: torch.Tensor, infinite: Number, graph: Graph | None) -> Number:
    """Count a step with infinite gradients under a GradScaler, and return whether the scale can still be the cause."""
    at = AT["infinite_under_scaler"]
    entries = load_entries(ledger, graph)
    entries[at] = in_a_row = where(infinite, entries[at] + 1.0, 0.0)
    store_entries(ledger, entries, graph)
    return infinite & (in_a_row <= CALIBRATION)


def read(ledger: torch.Tensor, names: Sequence[str], norms: Number | None) -> dict[str, Any]:
    """Return the ledger as a plain dict. Norms are NaN before the first measured step."""
    values = dict(zip(FIELDS, ledger.tolist(), strict=True))
    counts = {name: int(values[name]) for name in _COUNTS}
    before, after, weight = values["norm_before"], values["norm_after"], values["running_weight"]
    nan = float("nan")
    return {
        **counts,
        "skipped": sum(count for name, count in counts.items() if name.startswith("skipped_")),
        "clip_rate": counts["clipped"] / counts["applied"] if counts["applied"] else 0.0,
        "norm_before": before,
        "norm_after": after,
        "scale": after / before if before != 0 else 1.0,
        "running_norm_before": values["running_norm_before"] / weight if weight else nan,
        "running_norm_after": values["running_norm_after"] / weight if weight else nan,
        "norms": dict(zip(names, norms.tolist(), strict=True)) if norms is not None else {},
    }

"""What happened to every step, counted on the device and read when asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from steadystep.tracing.graph import graph_of
from steadystep.tracing.ops import Number, isfinite, where

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
"""What the ledger's vector holds, one float64 each: so it travels in `state_dict` as one tensor."""

AT = {name: index for index, name in enumerate(FIELDS)}

MEMORY = 0.99
"""The running norms are exponential averages over the applied steps, with this decay, corrected for their start."""

_COUNTS = FIELDS[:7]


def blank(device: torch.device) -> torch.Tensor:
    """The ledger of an optimizer that has not stepped yet."""
    unmeasured = float("nan")
    start = [unmeasured if name in ("norm_before", "norm_after") else 0.0 for name in FIELDS]
    return torch.tensor(start, dtype=torch.float64, device=device)


def record_unmeasured(ledger: torch.Tensor) -> None:
    """Enter a step that was applied without a look at its gradients."""
    ledger[AT["attempted"]] += 1
    ledger[AT["applied"]] += 1


def record(
    ledger: torch.Tensor,
    before: Number,
    after: Number,
    accept: Number,
    clipped: Number,
    reasons: Mapping[str, Number],
    calibrating: Number,
) -> None:
    """Enter one step: its global norms around clipping, whether it was applied and whether anything was clipped.

    `reasons` says for each count of skipped steps whether it applies. A skip while a GradScaler is still finding its
    scale (`calibrating`) does not count as one in a row.
    """
    # On the host as Python's numbers, which are faster one by one; on a device where it lies, or as a formula.
    formula = graph_of(accept)
    on_host = ledger.is_cpu and formula is None
    entries: Any = ledger.tolist() if on_host else ledger
    if formula is not None:
        entries = [formula.loaded(ledger, place) for place in range(len(FIELDS))]
    entries[AT["attempted"]] += 1
    entries[AT["applied"]] += accept
    for reason, applies in reasons.items():
        entries[AT[reason]] += applies
    in_a_row = entries[AT["consecutive_skips"]]
    entries[AT["consecutive_skips"]] = where(accept, 0.0, where(calibrating, in_a_row, in_a_row + 1))
    entries[AT["clipped"]] += accept & clipped
    entries[AT["norm_before"]] = before
    entries[AT["norm_after"]] = after
    # A norm that is no number is reported as the last one, and left out of the running ones: it would stay for ever.
    counts = accept & isfinite(before)
    for name, value in (("running_norm_before", before), ("running_norm_after", after), ("running_weight", 1.0)):
        entry = entries[AT[name]]
        entries[AT[name]] = where(counts, MEMORY * entry + (1 - MEMORY) * value, entry)
    if on_host:
        ledger.numpy()[:] = entries
    if formula is not None:
        for place, entry in enumerate(entries):
            formula.store(ledger, entry, place)


CALIBRATION = 32
"""Infinite steps in a row that a GradScaler may take to find its scale: halved so often, 2**32 is 1."""


def still_calibrating(ledger: torch.Tensor, infinite: Number) -> Number:
    """Count a step under a GradScaler, and say whether its infinity may still be the scale's and not the gradient's."""
    at = AT["infinite_under_scaler"]
    formula = graph_of(infinite)
    if formula is not None:
        in_a_row = where(infinite, formula.loaded(ledger, at) + 1.0, 0.0)
        formula.store(ledger, in_a_row, at)
        return infinite & (in_a_row <= CALIBRATION)
    if ledger.is_cpu:
        ledger.numpy()[at] = count = float(ledger[at]) + 1.0 if infinite else 0.0
        return bool(infinite) and count <= CALIBRATION
    ledger[at] = where(infinite, ledger[at] + 1.0, 0.0)
    return infinite & (ledger[at] <= CALIBRATION)


def consecutive_skips(ledger: torch.Tensor) -> Number:
    """The number of refused steps since the last applied one; on a device it is not read here."""
    entries = ledger.numpy() if ledger.is_cpu else ledger
    return entries[AT["consecutive_skips"]]


def read(ledger: torch.Tensor, names: Sequence[str], norms: Number | None) -> dict[str, Any]:
    """The ledger as a plain dict. Norms are NaN before the first measured step."""
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

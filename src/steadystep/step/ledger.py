"""The ledger, which counts on the device what happened to every step and is read only on request."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from steadystep.step.fields import AT, FIELDS, REASONS
from steadystep.step.outer_clip import observe
from steadystep.tracing.graph import Graph
from steadystep.tracing.ops import Number, isfinite, logical_not, where
from steadystep.tracing.verdict import Verdict, load_entries, store_entries

RUNNING_DECAY = 0.99
"""The decay of the running norms, exponential averages over the applied steps that are corrected for their start."""

CALIBRATION = 32
"""Infinite steps in a row that a GradScaler may take to find its scale: halved as often, 2**32 is 1."""

_COUNTS = (*FIELDS[:7], "skipped_loss", "nonfinite_updates", "zero_gradients", "already_clipped")


def blank(device: torch.device) -> torch.Tensor:
    """Return the ledger of an optimizer that has not stepped yet."""
    unmeasured = float("nan")
    start = [unmeasured if name in ("norm_before", "norm_after") else 0.0 for name in FIELDS]
    return torch.tensor(start, dtype=torch.float64, device=device)


def in_this_layout(ledger: torch.Tensor) -> torch.Tensor:
    """Return a ledger with all entries; one that an earlier version saved lacks the last ones, which are then 0."""
    missing = len(FIELDS) - len(ledger)
    return torch.cat([ledger, ledger.new_zeros(missing)]) if missing > 0 else ledger


def record_unmeasured(ledger: torch.Tensor, accept: bool) -> None:
    """Record a step whose gradients were not measured, and whether it was applied or taken back."""
    ledger[AT["attempted"]] += 1
    ledger[AT["applied" if accept else "consecutive_skips"]] += 1
    if accept:
        ledger[AT["consecutive_skips"]] = 0
    else:
        entries = ledger.tolist()
        _record_skip(entries, True, {})
        ledger.copy_(torch.tensor(entries, dtype=ledger.dtype))


def record(
    ledger: torch.Tensor,
    before: Number,
    after: Number,
    abs_max: Number,
    verdict: Verdict,
    clipped: Number,
    reasons: Mapping[str, Number],
    calibrating: Number,
    flags: Sequence[torch.Tensor],
) -> None:
    """Record one measured step.

    Args:
        ledger: the ledger's vector.
        before: the global norm before clipping.
        after: the global norm after clipping.
        abs_max: the largest element before clipping.
        verdict: whether the step is applied.
        clipped: whether any clipper changes anything.
        reasons: for each of `REASONS` that a skipped step can have, whether it has it.
        calibrating: whether a GradScaler is still finding its scale; a skip then is not one in a row.
        flags: of update passes on an accelerator, which are set to 0; see `UpdatePass.flag`.
    """
    accept = verdict.accept
    entries = load_entries(ledger, verdict.graph)

    def add(name: str, number: Number) -> None:
        entries[AT[name]] = entries[AT[name]] + number

    add("attempted", 1)
    add("applied", accept)
    for reason, applies in reasons.items():
        add(f"skipped_{reason}", applies)
    _record_skip(entries, logical_not(accept), reasons)
    in_a_row = entries[AT["consecutive_skips"]]
    entries[AT["consecutive_skips"]] = where(accept, 0.0, where(calibrating, in_a_row, in_a_row + 1))
    add("clipped", accept & clipped)
    for flag in flags:
        add("nonfinite_updates", verdict.take(flag))
    # A norm that is not finite is reported as the last one, but would stay in a running average for ever.
    counts = accept & isfinite(before)
    observe(entries, counts, before, abs_max)
    _record_rise(entries, counts, before)
    entries[AT["norm_before"]] = before
    entries[AT["norm_after"]] = after
    for name, value in (("running_norm_before", before), ("running_norm_after", after), ("running_weight", 1.0)):
        entry = entries[AT[name]]
        entries[AT[name]] = where(counts, RUNNING_DECAY * entry + (1 - RUNNING_DECAY) * value, entry)
    store_entries(ledger, entries, verdict.graph)


def _record_skip(entries: list[Number], refused: Number, reasons: Mapping[str, Number]) -> None:
    """Record the number of a refused step and its reason; one without a reason has been taken back."""
    if refused is False:
        return
    code: Number = 0.0
    for reason, applies in reasons.items():
        code = code + applies * (1.0 + REASONS.index(reason))
    code = where(code == 0.0, 1.0 + REASONS.index("update"), code)
    first = refused & (entries[AT["first_skip"]] == 0.0)
    for name, when in (("first_skip", first), ("last_skip", refused)):
        for place, value in ((AT[name], entries[AT["attempted"]]), (AT[f"{name}_reason"], code)):
            entries[place] = where(when, value, entries[place])


def _record_rise(entries: list[Number], counts: Number, norm: Number) -> None:
    """Count the steps in a row whose norm was above the average before it, and note that average where they began."""
    weight, total, rising_for = (entries[AT[x]] for x in ("running_weight", "running_norm_before", "rising_for"))
    rises = (norm * weight > total) & counts
    average = total / where(weight > 0.0, weight, 1.0)
    entries[AT["rising_from"]] = where(rises & (rising_for == 0.0), average, entries[AT["rising_from"]])
    entries[AT["rising_for"]] = where(counts, where(rises, rising_for + 1.0, 0.0), rising_for)
    entries[AT["last_sound_norm"]] = where(counts, norm, entries[AT["last_sound_norm"]])


def last_reason(entries: Sequence[float]) -> str:
    """Return why the last refused step was refused, or "" if none was."""
    return ("", *REASONS)[int(entries[AT["last_skip_reason"]])]


def _skip(values: Mapping[str, float], name: str) -> dict[str, Any] | None:
    """Return the number and the reason of a refused step, or None if none was."""
    if not values[name]:
        return None
    return {"step": int(values[name]), "reason": REASONS[int(values[f"{name}_reason"]) - 1]}


def count_nonfinite_update(ledger: torch.Tensor, flags: Sequence[torch.Tensor]) -> None:
    """Count a step whose update is known to have written something that is not finite, and reset what told of it."""
    ledger[AT["nonfinite_updates"]] += 1
    for flag in flags:
        flag.zero_()


def still_calibrating(ledger: torch.Tensor, infinite: Number, graph: Graph | None) -> Number:
    """Count a step with infinite gradients under a GradScaler, and return whether the scale can still be the cause."""
    at = AT["infinite_under_scaler"]
    entries = load_entries(ledger, graph)
    entries[at] = in_a_row = where(infinite, entries[at] + 1.0, 0.0)
    store_entries(ledger, entries, graph)
    return infinite & (in_a_row <= CALIBRATION)


def read(
    ledger: torch.Tensor,
    names: Sequence[str],
    norms: Number | None,
    updates: Mapping[str, float],
    flags: Sequence[torch.Tensor],
    faults: Mapping[str, int],
) -> dict[str, Any]:
    """Return the ledger as a plain dict. Norms are NaN before the first measured step."""
    values = dict(zip(FIELDS, in_this_layout(ledger).tolist(), strict=True))
    counts = {name: int(values[name]) for name in _COUNTS}
    counts["nonfinite_updates"] += int(any(float(flag) for flag in flags))  # of the last step, not yet recorded
    before, after, weight = values["norm_before"], values["norm_after"], values["running_weight"]
    nan = float("nan")
    return {
        **counts,
        "skipped": counts["attempted"] - counts["applied"],
        "clip_rate": counts["clipped"] / counts["applied"] if counts["applied"] else 0.0,
        "norm_before": before,
        "norm_after": after,
        "scale": after / before if before != 0 else 1.0,
        "running_norm_before": values["running_norm_before"] / weight if weight else nan,
        "running_norm_after": values["running_norm_after"] / weight if weight else nan,
        "norms": dict(zip(names, norms.tolist(), strict=True)) if norms is not None else {},
        "update_norms": dict(updates),
        "first_skip": _skip(values, "first_skip"),
        "last_skip": _skip(values, "last_skip"),
        "faults": dict(faults),
    }

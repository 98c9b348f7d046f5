"""Executable theory, one claim per file. `CLAIMS` lists all claims; `RECORDED` holds the last known result of each."""

from steadystep.lab.errors import UserError
from steadystep.lab.theory import (
    bias_correction,
    bounded_step,
    cliff,
    clipping_bias,
    heavy_tails,
    latch,
    nonconvergence,
    printed_adam,
    printed_clipping,
    relaxed_smoothness,
    rnn_gradients,
    scale_invariance,
    stability_thresholds,
    starvation,
    step_bound,
)
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Status
from steadystep.lab.theory.recorded import RECORDED

_ALL = (
    bias_correction, step_bound, scale_invariance, starvation, nonconvergence, printed_adam, printed_clipping,
    rnn_gradients, cliff, bounded_step, relaxed_smoothness, stability_thresholds, clipping_bias, heavy_tails, latch,
)  # fmt: skip

CLAIMS: dict[str, Claim] = {module.CLAIM.id: module.CLAIM for module in _ALL}


class UnknownClaimError(UserError):
    """An error raised if a name is not the id of a claim in `CLAIMS`."""


def find_claim(name: str) -> Claim:
    """Return the claim with this id.

    Raises:
        UnknownClaimError: if no claim has this id. The message lists the known ids.
    """
    if name not in CLAIMS:
        raise UnknownClaimError(f"unknown claim {name!r}; the known claims are {', '.join(CLAIMS)}")
    return CLAIMS[name]


__all__ = [
    "CLAIMS",
    "RECORDED",
    "Claim",
    "Evidence",
    "Finding",
    "Measurement",
    "Status",
    "UnknownClaimError",
    "find_claim",
]

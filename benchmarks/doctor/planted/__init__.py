"""All planted failures."""

from benchmarks.doctor.planted import (
    accumulations,
    backward_op,
    batches,
    clip_orders,
    forward_op,
    initial,
    losses,
    outliers,
    precision,
    ranges,
    rates,
    states,
    transients,
)
from benchmarks.doctor.planted.case import Planted

PLANTED: tuple[Planted, ...] = (
    *batches.CASES,
    *forward_op.CASES,
    *backward_op.CASES,
    *ranges.CASES,
    *precision.CASES,
    *states.CASES,
    *rates.CASES,
    *outliers.CASES,
    *clip_orders.CASES,
    *accumulations.CASES,
    *initial.CASES,
    *losses.CASES,
    *transients.CASES,
)

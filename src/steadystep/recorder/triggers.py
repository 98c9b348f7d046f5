"""What makes a box freeze: a refused step, something not finite, or a loss that is far from where it was."""

from steadystep.recorder.recording import Trigger as Trigger

REFUSED, LOSS, GRADIENT, PARAMETER, SPIKE, RISE, UPDATE, PLATEAU = KINDS = (
    "step refused",
    "loss not finite",
    "gradient not finite",
    "parameter not finite",
    "loss spike",
    "loss above where it was",
    "update spike",
    "plateau",
)
"""The kinds of a trigger."""

"""Values that a study chooses by name. This module imports nothing heavy, because the command line loads it first."""

from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""Precision of the model's computation: float32, or bfloat16 autocast. Parameters and optimizer states are float32."""

Schedule = Literal["cosine", "constant", "triangle"]
"""Learning-rate schedule of a run, see `training.schedule`."""

Spending = Literal["obrien-fleming", "pocock"]
"""An alpha-spending function; see `lab.statistics.sequential.spent`."""

Where = Literal["processes", "ray"]
"""Where trials run: in processes of this machine, or as tasks of a Ray cluster."""

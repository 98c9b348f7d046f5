"""What a study can choose from by name. Nothing heavy is imported here: the command line reads it first."""

from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""What a model computes in: float32, or bfloat16 where autocast allows it. Parameters and optimizers keep float32."""

Schedule = Literal["cosine", "constant", "triangle"]
"""How the learning rate goes over a run, see `study.schedule`."""

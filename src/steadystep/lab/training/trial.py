"""A trial: everything that determines one training run, and the identity computed from it."""

import hashlib
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from steadystep.lab.choices import Precision, Schedule
from steadystep.lab.tasks.clips import known_clip
from steadystep.lab.tasks.fields import Count, Option, Positive, refuse_boolean


class Clip(BaseModel):
    """The clipper of an arm and its threshold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, AfterValidator(known_clip)]
    threshold: Positive

    def __str__(self) -> str:
        return f"{self.kind} {self.threshold:.3g}"


class Trial(BaseModel):
    """The declaration of one training run. Two trials with the same identity give the same numbers.

    `role` is the purpose of the run: a ``tune`` trial never reads the test split, a ``final`` trial reads it
    once, after its last step. `data` is the fingerprint of the arrays that the task trains on.

    >>> trial = Trial(task="digits-mlp", data="0" * 16, optimizer="Adam", lr=1e-3, epochs=2, batch_size=64, seed=0,
    ...               role="tune")
    >>> trial.id == trial.model_copy(update={"lr": 1e-3}).id != trial.model_copy(update={"seed": 1}).id
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    task_version: int = 1
    data: str
    optimizer: str
    options: dict[str, Option] = {}
    lr: Positive
    clip: Clip | None = None
    schedule: Schedule = "cosine"
    epochs: Count
    batch_size: Count
    seed: Annotated[int, BeforeValidator(refuse_boolean), Field(ge=0)]
    role: Literal["tune", "final"]
    dtype: Precision = "float32"

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON of all fields."""
        return fingerprint(self.model_dump_json())


def fingerprint(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""The entries of the audit: quoted statements with their verdicts and evidence, read from YAML files."""

from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Verdict = Literal[
    "holds",
    "holds in part",
    "needs an assumption",
    "not supported",
    "wrong",
    "misattributed",
    "not given",
    "implausible",
    "reproduced",
    "exceeded",
    "not reproduced",
    "not comparable",
    "undecided",
    "not measured",
]
Kind = Literal["claims", "equations", "citations", "method", "numbers"]

Question = Literal["clipping", "adam-vs-sgd", "clipped-adam-vs-sgd"]
"""What a comparison of two arms bears on: clipping with the same optimizer, or Adam and SGD."""


class Strict(BaseModel):
    """A frozen model that raises a validation error for unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(Strict):
    """A reference to a result in docs/results that concerns one arm, two arms or a whole study."""

    study: str
    what: Literal["accuracy", "difference", "epochs", "tuning", "clipping", "cost", "batch_size", "seeds"]
    arm: str | None = None
    against: str | None = None


class Every(Strict):
    """Every published comparison that bears on a question, or only those of recurrent networks."""

    question: Question
    networks: Literal["all", "recurrent"] = "all"


class Evidence(Strict):
    """A theory check, a result, a report's answer, all comparisons on a question, arithmetic, or a publication."""

    theory: str | None = None
    measured: Measured | None = None
    reported: Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+$")] | None = None  # in docs/results: FOLDER/NAME.md
    every: Every | None = None
    arithmetic: Literal["epoch-ratios"] | None = None
    citation: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Evidence":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"evidence must have exactly one field, got {sorted(self.model_fields_set)}")
        return self


class Entry(Strict):
    """A verbatim statement from the paper with the verdict on it."""

    id: str
    section: str
    quote: str
    verdict: Verdict
    explanation: Annotated[str, Field(min_length=1)]
    evidence: Annotated[tuple[Evidence, ...], Field(min_length=1)]


class TableRow(Strict):
    """A row of the paper's Table 1."""

    dataset: str
    architecture: str
    technique: str
    accuracy: float  # percent
    epochs: int
    study: str
    arm: str
    published: str | None = None  # results of others, with the source


@cache
def entries(kind: Kind) -> tuple[Entry, ...]:
    """Return the judged statements of one kind."""
    return tuple(Entry.model_validate(entry) for entry in _read(kind))


@cache
def table1() -> tuple[TableRow, ...]:
    """Return the rows of the paper's Table 1."""
    return tuple(TableRow.model_validate(row) for row in _read("table1"))


def _read(name: str) -> list[dict[str, object]]:
    return yaml.safe_load(resources.files("steadystep.lab.paper").joinpath(f"{name}.yaml").read_text(encoding="utf-8"))

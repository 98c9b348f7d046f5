"""A study's folder: its declaration, one immutable record for each finished trial, checkpoints of unfinished ones."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from steadystep.lab.errors import UserError
from steadystep.lab.execution.archive import unpack
from steadystep.lab.execution.batches import Batch
from steadystep.lab.study.spec import Study
from steadystep.lab.system.atomic import StoreError, refusals_named, write_atomic
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial

__all__ = ["BrokenStudyError", "OtherStudyError", "Store", "StoreError", "StoredStudy", "write_atomic"]

STALE_SECONDS = 3600
"""An unfinished file older than this was left by a process that was killed."""

Warn = Callable[[str], None]


class BrokenStudyError(UserError):
    """A study's folder has no readable study.json."""


class OtherStudyError(UserError):
    """A folder already holds a study that answers another question."""


class StoredStudy(BaseModel):
    """study.json: what is compared, and on what data, so that a report needs nothing but the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Study
    task_version: int
    data: str


class Store:
    """The folder of one study: study.json, records/ID.json and checkpoints/ID.pt, of a trial or of a batch.

    Every file is written atomically, so several processes may work in one folder, and any may be killed.
    `warn` is told, in one line each, of files that could not be trusted.
    """

    def __init__(self, folder: Path, warn: Warn = lambda text: None) -> None:
        self.folder = folder
        self._warn = warn

    @property
    def _declaration(self) -> Path:
        return self.folder / "study.json"

    def prepare(self) -> None:
        """Make the folder where there is none, and sweep out what killed processes left.

        Raises:
            StoreError: where the folder cannot be written.
        """
        for folder in (self.folder, self.folder / "records", self.folder / "checkpoints"):
            with refusals_named(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _sweep(folder)

    def declare(self, wanted: StoredStudy) -> None:
        """Make this the folder of the study, creating it where there is none.

        A study may grow: more seeds, more tuning seeds, more budgets; its records stay. Any other difference
        is refused, so that a folder answers one question.

        Raises:
            OtherStudyError: naming the fields that differ.
            BrokenStudyError: where there is a study.json that cannot be read.
            StoreError: where the folder cannot be written.
        """
        self.prepare()
        if self._declaration.exists():
            present = self.declared()
            if present == wanted:
                return
            differences = _conflicts(present, wanted)
            if differences:
                raise OtherStudyError(
                    f"{self.folder} holds another study ({'; '.join(differences)}): choose another folder with --out"
                )
        write_atomic(self._declaration, wanted.model_dump_json(indent=1) + "\n")

    def declared(self) -> StoredStudy:
        """The study that the folder holds. Raises BrokenStudyError where it cannot be read."""
        try:
            return StoredStudy.model_validate_json(self._declaration.read_bytes())
        except OSError as error:
            reason = "there is none" if isinstance(error, FileNotFoundError) else error.strerror
            raise BrokenStudyError(f"cannot read the study {self._declaration}: {reason}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise BrokenStudyError(
                f"{self._declaration} is no study ({where}: {first['msg']}): delete that file and run the same "
                "command again, the records beside it are kept"
            ) from error

    def read(self, trial: Trial) -> Record | None:
        """The trial's record, or None where there is none that can be trusted.

        A record that is truncated, was edited, or belongs to another trial is reported and moved aside.
        """
        path = self._record(trial)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return self._packed_record(trial)
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        try:
            return _verified(content, trial)
        except _Untrustworthy as reason:
            aside = path.with_name(f"{path.name}.corrupt")
            with refusals_named(aside):
                path.replace(aside)
            self._warn(f"{path} {reason}: moved to {aside.name}, the trial counts as not run")
            return None

    def _packed_record(self, trial: Trial) -> Record | None:
        line = self._packed.get(trial.id)
        if line is None:
            return None
        try:
            return _verified(line, trial)
        except _Untrustworthy as reason:
            self._warn(f"the packed record of trial {trial.id} in {self.folder} {reason}: the trial counts as not run")
            return None

    @cached_property
    def _packed(self) -> Mapping[str, bytes]:
        return unpack(self.folder)

    def write(self, record: Record) -> None:
        """Keep a finished trial's record and drop its checkpoint. A record that is there is never changed."""
        path = self._record(record.trial)
        if not path.exists():
            content = record.model_dump(mode="json")
            write_atomic(path, json.dumps({"sha256": _checksum(content), "record": content}) + "\n")
        self.drop_checkpoint(record.trial)

    def checkpoint(self, unfinished: Trial | Batch) -> Path:
        """Where an unfinished trial, or a batch of them, keeps its state."""
        return self.folder / "checkpoints" / f"{unfinished.id}.pt"

    def drop_checkpoint(self, finished: Trial | Batch) -> None:
        checkpoint = self.checkpoint(finished)
        with refusals_named(checkpoint):
            checkpoint.unlink(missing_ok=True)

    def _record(self, trial: Trial) -> Path:
        return self.folder / "records" / f"{trial.id}.json"


class _Untrustworthy(Exception):
    """Why a record is not believed."""


def _verified(content: bytes, trial: Trial) -> Record:
    try:
        written = json.loads(content)
        body, checksum = written["record"], written["sha256"]
    except (ValueError, KeyError, TypeError):
        raise _Untrustworthy("is no whole record") from None
    if checksum != _checksum(body):
        raise _Untrustworthy("was changed after it was written (its checksum differs)")
    try:
        # As JSON, because only there are arrays read as tuples and "NaN" as a number.
        record = Record.model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise _Untrustworthy(f"is no record of this version ({error.errors()[0]['msg']})") from None
    if record.trial.id != trial.id:
        raise _Untrustworthy("is the record of another trial")
    return record


def _checksum(content: Any) -> str:
    # Of the content rather than of the bytes: Python writes a float read from JSON as it was.
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _conflicts(present: StoredStudy, wanted: StoredStudy) -> list[str]:
    """Every difference that is not growth, in words."""
    differences = []
    if present.data != wanted.data:
        differences.append(f"the data differ: fingerprint there {present.data}, here {wanted.data}")
    if present.task_version != wanted.task_version:
        differences.append(f"the task's version there {present.task_version}, here {wanted.task_version}")
    for name in Study.model_fields:
        there, asked = getattr(present.study, name), getattr(wanted.study, name)
        if there == asked or _grows(name, there, asked):
            continue
        if name == "arms":
            differences.append(_different_arms(there, asked))
        else:
            differences.append(f"{name} there {there}, asked {asked}")
    return differences


def _grows(name: str, there: Any, asked: Any) -> bool:
    if name in ("seeds", "tune_seeds"):
        return asked > there
    return name == "budgets" and set(asked) > set(there)


def _different_arms(there: Sequence[Arm], asked: Sequence[Arm]) -> str:
    names, wanted = ([arm.name for arm in arms] for arms in (there, asked))
    if names != wanted:
        return f"arms there {', '.join(names)}, asked {', '.join(wanted)}"
    changed = [one.name for one, other in zip(there, asked, strict=True) if one != other]
    return f"the settings of arm {', '.join(changed)}"


def _sweep(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)

"""The folder of a study: its declaration, immutable records of finished trials, checkpoints of unfinished ones."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from steadystep.lab.counted import count
from steadystep.lab.errors import UserError
from steadystep.lab.execution.archive import unpack
from steadystep.lab.study.explain import explain
from steadystep.lab.study.spec import Study, with_current_names
from steadystep.lab.system.atomic import StoreError, store_errors, write_atomic
from steadystep.lab.system.json_text import read_json
from steadystep.lab.system.paths import path_problem
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.fields import CountFromZero
from steadystep.lab.training.checkpoint import folder_of_ranks
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial
from steadystep.lab.training.trial_batch import TrialBatch

__all__ = ["BrokenStudyError", "OtherStudyError", "Store", "StoreError", "StoredStudy", "write_atomic"]

STALE_SECONDS = 3600
"""A temporary file older than this was left behind by a killed process."""

Warn = Callable[[str], None]


class BrokenStudyError(UserError):
    """The folder of a study has no valid study.json."""


class OtherStudyError(UserError):
    """The folder already contains a different study."""


class StoredStudy(BaseModel):
    """The content of study.json: the study and the fingerprint of its data, so that a report needs only the folder.

    `test_seen` is the number of test results that existed when the study got this declaration. Verdicts of a study that
    was declared or changed when its outcome was known are not those of a declared design, and its report says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Study
    task_version: int
    data: str
    test_seen: CountFromZero = 0


class Store:
    """The folder of one study: study.json, a records/ID.json per trial, and a checkpoints/ID.pt per trial or batch.

    Every file is written atomically, so several processes may use one folder, and any of them may be killed.
    `warn` is called with a one-line message for every invalid file.
    """

    def __init__(self, folder: Path, warn: Warn = lambda text: None) -> None:
        self.folder = folder
        self._warn = warn

    @property
    def _declaration(self) -> Path:
        return self.folder / "study.json"

    def prepare(self) -> None:
        """Create the folder if it does not exist, and delete the temporary files of killed processes.

        Raises:
            StoreError: if the folder cannot be written.
        """
        for folder in (self.folder, self.folder / "records", self.folder / "checkpoints"):
            with store_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _remove_stale(folder)

    def declare(self, wanted: StoredStudy) -> None:
        """Write the study's declaration to the folder, which is created if it does not exist.

        A study may be extended by more seeds, tuning seeds or budgets; its records remain valid. If the folder has test
        results by then, `test_seen` says how many, also where the declaration that they belong to is missing or was
        edited. Any other difference from the study in the folder is an error, so that a folder contains one study.

        Raises:
            OtherStudyError: if the folder contains another study; the message lists the fields that differ, and says if
                the other study has test results.
            BrokenStudyError: if study.json exists but is invalid.
            StoreError: if the folder cannot be written.
        """
        self.prepare()
        present, edited = self._declared() if self._declaration.exists() else (None, False)
        before = present.test_seen if present else 0
        requested = _with_current_names(wanted.model_copy(update={"test_seen": before}))
        if present == requested and not edited:
            return
        seen = len(self.test_results())
        if present:
            differences = _conflicts(present, requested)
            if differences:
                raise OtherStudyError(
                    f"{self.folder} contains another study ({'; '.join(differences)}"
                    + (f"; test seen: that study has {count(seen, 'test result')}" if seen else "")
                    + "): choose another folder with --out"
                )
        wanted = wanted.model_copy(update={"test_seen": seen or before})
        content = wanted.model_dump(mode="json")
        write_atomic(self._declaration, json.dumps({"sha256": _checksum(content), **content}, indent=1) + "\n")

    def declared(self) -> StoredStudy:
        """Return the study that the folder contains.

        A study.json that was edited after it was written counts as declared now: `test_seen` is then the number of test
        results in the folder.

        Raises:
            BrokenStudyError: if study.json does not exist or is invalid.
        """
        return self._declared()[0]

    def _declared(self) -> tuple[StoredStudy, bool]:
        """Return the study that the folder contains, and whether study.json was edited after it was written."""
        try:
            content = read_json(self._declaration.read_bytes())
            # A file that was written by hand has no checksum.
            checksum = content.pop("sha256", None) if isinstance(content, dict) else None
            # Validated as JSON, because only then does pydantic accept arrays as tuples.
            stored = _with_current_names(StoredStudy.model_validate_json(json.dumps(content)))
            edited = checksum not in (None, _checksum(content))
            if edited:
                stored = stored.model_copy(update={"test_seen": max(stored.test_seen, len(self.test_results()))})
            return stored, edited
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = path_problem(self._declaration) or ("the file does not exist" if missing else error.strerror)
            raise BrokenStudyError(f"cannot read the study {self._declaration}: {reason}") from error
        except ValueError as error:
            reason = explain(error, StoredStudy) if isinstance(error, ValidationError) else str(error)
            raise BrokenStudyError(
                f"{self._declaration} is not a valid study ({reason}): delete that file and run the same command "
                "again; the records in the folder remain valid, and the report will say how many of them had test "
                "results before this declaration"
            ) from error

    def test_results(self, leave_out: Collection[str] = ()) -> set[str]:
        """Return the ids of the trials whose records have a result on the test split, but for some that are known."""
        loose = {
            path.stem: path.read_bytes()
            for path in (self.folder / "records").glob("*.json")
            if path.stem not in leave_out and path.is_file()
        }
        packed = {trial: line for trial, line in self._packed.items() if trial not in leave_out}
        found = set()
        for trial, content in (packed | loose).items():
            try:
                if read_json(content)["record"]["test_accuracy"] is not None:
                    found.add(trial)
            except (ValueError, KeyError, TypeError):
                self._warn(f"a record of {self.folder} is not complete: it counts as not run")
        return found

    def read(self, trial: Trial, *, set_aside: bool = False) -> Record | None:
        """Return the trial's record, or None if there is no valid one.

        A record that is truncated, was edited, or belongs to another trial is reported. With `set_aside` it is renamed
        too, so that the trial can be run again; a folder that is only read stays as it is.

        Raises:
            StoreError: if the record cannot be read or renamed.
        """
        path = self._record(trial)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return self._read_packed(trial)
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        try:
            return _verified(content, trial)
        except _InvalidRecord as reason:
            moved = ""
            if set_aside:
                aside = path.with_name(f"{path.name}.corrupt")
                with store_errors(aside):
                    path.replace(aside)
                moved = f"moved to {aside.name}, "
            self._warn(f"{path} {reason}: {moved}the trial counts as not run")
            return None

    def _read_packed(self, trial: Trial) -> Record | None:
        line = self._packed.get(trial.id)
        if line is None:
            return None
        try:
            return _verified(line, trial)
        except _InvalidRecord as reason:
            self._warn(f"the packed record of trial {trial.id} in {self.folder} {reason}: the trial counts as not run")
            return None

    @cached_property
    def _packed(self) -> dict[str, bytes]:
        return dict(unpack(self.folder))

    def write(self, record: Record) -> None:
        """Write the record of a finished trial and delete its checkpoint. An existing record is never changed."""
        path = self._record(record.trial)
        if not path.exists():
            content = record.model_dump(mode="json")
            write_atomic(path, json.dumps({"sha256": _checksum(content), "record": content}) + "\n")
        self.drop_checkpoint(record.trial)

    def discard(self, trial: Trial) -> None:
        """Delete the trial's record, if there is one, so that the trial is run again."""
        path = self._record(trial)
        with store_errors(path):
            path.unlink(missing_ok=True)

    def checkpoint(self, unfinished: Trial | TrialBatch) -> Path:
        """Return the path of the checkpoint of an unfinished trial or batch."""
        return self.folder / "checkpoints" / f"{unfinished.id}.pt"

    def drop_checkpoint(self, finished: Trial | TrialBatch) -> None:
        """Delete the checkpoints of a finished trial or batch, if there are any."""
        checkpoint = self.checkpoint(finished)
        with store_errors(checkpoint):
            checkpoint.unlink(missing_ok=True)
        shutil.rmtree(folder_of_ranks(checkpoint), ignore_errors=True)  # by all processes at once

    def _record(self, trial: Trial) -> Path:
        return self.folder / "records" / f"{trial.id}.json"


class _InvalidRecord(Exception):
    """A record is not valid; the message says why."""


def _verified(content: bytes, trial: Trial) -> Record:
    try:
        document = read_json(content)
        body, checksum = document["record"], document["sha256"]
    except (ValueError, KeyError, TypeError):
        raise _InvalidRecord("is not a complete record") from None
    if not isinstance(body, dict):
        raise _InvalidRecord("is not a record")
    if checksum != _checksum(body):
        raise _InvalidRecord("was changed after it was written (its checksum differs)")
    try:
        # Validated as JSON, because only then does pydantic accept arrays as tuples and "NaN" as a number.
        record = Record.model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise _InvalidRecord(f"is not a record of this version ({error.errors()[0]['msg']})") from None
    if record.trial.id != trial.id:
        raise _InvalidRecord("is the record of another trial")
    return record


def _checksum(content: Any) -> str:
    # Of the content, not of the bytes, so that formatting does not matter: floats survive a JSON round trip in Python.
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _with_current_names(stored: StoredStudy) -> StoredStudy:
    return stored.model_copy(update={"study": with_current_names(stored.study)})


def _conflicts(present: StoredStudy, wanted: StoredStudy) -> list[str]:
    """Describe every difference between two studies, except extensions."""
    differences = []
    if present.data != wanted.data:
        differences.append(f"the data differ: the fingerprint is {present.data} there, {wanted.data} here")
    if present.task_version != wanted.task_version:
        differences.append(f"the task's version is {present.task_version} there, {wanted.task_version} here")
    for name in Study.model_fields:
        stored, requested = getattr(present.study, name), getattr(wanted.study, name)
        if stored == requested or _extends(name, stored, requested):
            continue
        if name == "arms":
            differences.append(_different_arms(stored, requested))
        else:
            differences.append(f"{name}: {stored} there, {requested} requested")
    return differences


def _extends(name: str, stored: Any, requested: Any) -> bool:
    if name in ("seeds", "tune_seeds"):
        return requested > stored
    return name == "budgets" and set(requested) > set(stored)


def _different_arms(stored: Sequence[Arm], requested: Sequence[Arm]) -> str:
    names, requested_names = ([arm.name for arm in arms] for arms in (stored, requested))
    if names != requested_names:
        return f"arms: {', '.join(names)} there, {', '.join(requested_names)} requested"
    changed = [one.name for one, other in zip(stored, requested, strict=True) if one != other]
    return f"the settings of arm {', '.join(changed)}"


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)

"""The study's folder: atomic writes, checks of records, and one-line errors."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_factory import make_record, make_trial
from steadystep.lab.execution.archive import pack
from steadystep.lab.execution.store import (
    STALE_SECONDS,
    BrokenStudyError,
    OtherStudyError,
    Store,
    StoreError,
    write_atomic,
)
from steadystep.lab.training.trial import Trial
from tiny_study import STUDY, WANTED, tiny_trial


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 KiB and yield its folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs permission to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def record_path(store: Store, trial: Trial) -> Path:
    return store.folder / "records" / f"{trial.id}.json"


class TestWriteAtomic:
    def test_writes_bytes_and_text(self, tmp_path: Path) -> None:
        write_atomic(tmp_path / "bytes", b"\0\1")
        write_atomic(tmp_path / "text", "σ")
        assert (tmp_path / "bytes").read_bytes() == b"\0\1"
        assert (tmp_path / "text").read_bytes() == "σ".encode()

    def test_readers_find_the_old_or_the_new_content(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        contents = {str(digit) * 100_000 for digit in range(10)}
        write_atomic(path, "0" * 100_000)

        def write_all() -> None:
            for content in sorted(contents) * 3:
                write_atomic(path, content)

        writers = [threading.Thread(target=write_all) for _ in range(2)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            assert path.read_text() in contents
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        write_atomic(path, "old")

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match=r"cannot write .*file: No space left on device"):
            write_atomic(path, "new")
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot write"):
            write_atomic(tmp_path / "file" / "under-a-file", "x")
        with pytest.raises(StoreError, match="cannot write"):
            write_atomic(Path("/proc/steadystep"), "x")


class TestRecords:
    def test_a_record_is_read_back_as_it_was(self, store: Store) -> None:
        record = make_record()
        store.write(record)
        assert store.read(record.trial) == record

    def test_a_record_with_no_numbers_is_read_back_too(self, store: Store) -> None:
        record = make_record(diverged=True, clip_rate=float("nan"), norm_quantiles=())
        store.write(record)
        read = store.read(record.trial)
        assert read
        assert read.model_dump_json() == record.model_dump_json()

    def test_a_trial_that_was_not_run_has_no_record(self, store: Store, warnings: list[str]) -> None:
        assert store.read(make_trial()) is None
        assert warnings == []

    def test_a_record_is_never_changed(self, store: Store) -> None:
        first = make_record(accuracy=0.9)
        store.write(first)
        store.write(make_record(accuracy=0.8))
        assert store.read(first.trial) == first

    def test_writing_a_record_drops_the_checkpoint(self, store: Store) -> None:
        record = make_record()
        store.checkpoint(record.trial).write_bytes(b"anything")
        store.write(record)
        assert not store.checkpoint(record.trial).exists()

    @pytest.mark.parametrize("share", [0, 0.3, 0.999])
    def test_a_truncated_record_is_moved_aside(self, share: float, store: Store, warnings: list[str]) -> None:
        record = make_record()
        store.write(record)
        path = record_path(store, record.trial)
        content = path.read_text().strip()
        path.write_text(content[: int(share * len(content))])
        self.assert_moved_aside(store, record.trial, warnings, "not a complete record")
        store.write(record)
        assert store.read(record.trial) == record

    def test_an_edited_record_is_moved_aside(self, store: Store, warnings: list[str]) -> None:
        record = make_record(accuracy=0.9)
        store.write(record)
        path = record_path(store, record.trial)
        content = json.loads(path.read_text())
        content["record"]["test_accuracy"] = 0.999
        path.write_text(json.dumps(content))
        self.assert_moved_aside(store, record.trial, warnings, "checksum differs")

    def test_another_trials_record_is_moved_aside(self, store: Store, warnings: list[str]) -> None:
        record, other = make_record(), make_trial(seed=7)
        store.write(record)
        shutil.copy(record_path(store, record.trial), record_path(store, other))
        self.assert_moved_aside(store, other, warnings, "another trial")
        assert store.read(record.trial) == record

    @pytest.mark.parametrize(
        "content",
        [
            "null",
            "[]",
            '{"record": 1}',
            '{"record": {}, "sha256": 1}',
            "\udcff",
            "{}",
            pytest.param("[" * 200_000, id="nested arrays"),
            pytest.param('{"record": ' * 200_000, id="nested objects"),
            pytest.param(
                '{"sha256": "", "record": ' + "[" * 900 + "]" * 900 + "}", id="nested as deep as Python reads"
            ),
            pytest.param('{"sha256": "", "sha256": "", "record": {}}', id="a key twice"),
            pytest.param("1" * 5_000, id="long number"),
        ],
    )
    def test_an_invalid_record_is_moved_aside(self, content: str, store: Store, warnings: list[str]) -> None:
        trial = make_trial()
        record_path(store, trial).write_bytes(content.encode(errors="surrogateescape"))
        self.assert_moved_aside(store, trial, warnings, "")

    def test_a_new_format_of_the_same_content_is_trusted(self, store: Store) -> None:
        record = make_record()
        store.write(record)
        path = record_path(store, record.trial)
        path.write_text(json.dumps(json.loads(path.read_text()), indent=3, sort_keys=True))
        assert store.read(record.trial) == record

    @staticmethod
    def assert_moved_aside(store: Store, trial: Trial, warnings: list[str], reason: str) -> None:
        path = record_path(store, trial)
        before = path.read_bytes()
        assert store.read(trial) is None
        assert path.read_bytes() == before, "what is only read stays as it is"
        assert store.read(trial, set_aside=True) is None
        assert not path.exists()
        assert path.with_name(f"{path.name}.corrupt").read_bytes() == before
        told, warning = warnings
        assert "moved to" not in told and "the trial counts as not run" in told
        assert reason in warning
        assert path.name in warning
        assert "\n" not in warning


class TestDeclaration:
    def test_the_same_study_may_be_declared_again(self, store: Store) -> None:
        store.declare(WANTED)
        assert store.declared() == WANTED

    @pytest.mark.parametrize(
        "change", [{"seeds": 5}, {"tune_seeds": 3}, {"budgets": (1, 2, 4)}, {"budgets": (1, 2, 5)}]
    )
    def test_a_study_may_grow(self, change: dict, store: Store) -> None:
        grown = WANTED.model_copy(update={"study": STUDY.model_copy(update=change)})
        store.declare(grown)
        assert store.declared() == grown

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"seeds": 1}, "seeds: 2 there, 1 requested"),
            ({"budgets": (1,)}, r"budgets: \(1, 2\) there, \(1,\) requested"),
            ({"batch_size": 8}, "batch_size: 16 there, 8 requested"),
            ({"schedule": "constant"}, "schedule: cosine there, constant requested"),
            ({"task": "other"}, "task: tiny there, other requested"),
            ({"arms": STUDY.arms[:2]}, "arms: SGD, Adam, Adam . clip there, SGD, Adam requested"),
            ({"arms": (STUDY.arms[0].model_copy(update={"lrs": (0.1, 0.2)}), *STUDY.arms[1:])}, "settings of arm SGD"),
        ],
    )
    def test_the_error_for_another_study_names_the_fields(self, change: dict, named: str, store: Store) -> None:
        with pytest.raises(OtherStudyError, match=named) as refusal:
            store.declare(WANTED.model_copy(update={"study": STUDY.model_copy(update=change)}))
        assert "--out" in str(refusal.value)
        assert store.declared() == WANTED

    def test_a_study_that_grows_says_how_many_test_results_it_had(self, store: Store) -> None:
        store.write(make_record(tiny_trial(role="tune")))
        grown = WANTED.model_copy(update={"study": STUDY.model_copy(update={"seeds": 5})})
        store.declare(grown)
        assert store.declared().test_seen == 0, "tuning reads no test split"
        store.write(make_record(tiny_trial(seed=0)))
        store.write(make_record(tiny_trial(seed=1)))
        store.declare(grown)
        assert store.declared().test_seen == 0, "the same study again"
        more = WANTED.model_copy(update={"study": STUDY.model_copy(update={"seeds": 9})})
        store.declare(more)
        assert store.declared() == more.model_copy(update={"test_seen": 2})
        store.declare(more)
        assert store.declared().test_seen == 2, "it is kept"

    def test_the_error_for_another_study_says_that_test_results_were_seen(self, store: Store) -> None:
        other = WANTED.model_copy(update={"study": STUDY.model_copy(update={"batch_size": 8})})
        with pytest.raises(OtherStudyError) as refusal:
            store.declare(other)
        assert "test seen" not in str(refusal.value)
        store.write(make_record(tiny_trial()))
        with pytest.raises(OtherStudyError, match="test seen: that study has 1 test result"):
            store.declare(other)

    def test_results_whose_declaration_was_deleted_were_seen_too(self, store: Store) -> None:
        store.write(make_record(tiny_trial()))
        (store.folder / "study.json").unlink()
        store.declare(WANTED)
        assert store.declared().test_seen == 1

    @pytest.mark.parametrize("change", [{"seeds": 1}, {"batch_size": 8}, {"first_seed": 5}, {"seeds": 9}])
    def test_a_declaration_that_was_edited_was_made_when_it_was_edited(self, change: dict, store: Store) -> None:
        path = store.folder / "study.json"
        written = json.loads(path.read_text())
        edited = WANTED.model_copy(update={"study": STUDY.model_copy(update=change)})
        store.write(make_record(tiny_trial(role="tune")))
        path.write_text(json.dumps(written | {"study": edited.study.model_dump(mode="json")}))
        assert store.declared() == edited, "no test result was known"
        store.write(make_record(tiny_trial(seed=0)))
        store.write(make_record(tiny_trial(seed=1)))
        assert store.declared() == edited.model_copy(update={"test_seen": 2}), "for a report"
        store.declare(edited)
        store.declare(edited)
        assert store.declared().test_seen == 2 and json.loads(path.read_text())["test_seen"] == 2, "for ever"

    def test_another_format_of_the_same_declaration_is_not_an_edit(self, store: Store) -> None:
        path = store.folder / "study.json"
        store.write(make_record(tiny_trial()))
        path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
        assert store.declared() == WANTED

    def test_packed_test_results_count_too(self, store: Store, tmp_path: Path) -> None:
        store.write(make_record(tiny_trial()))
        pack(store.folder, tmp_path / "packed")
        packed = Store(tmp_path / "packed")
        packed.declare(WANTED.model_copy(update={"study": STUDY.model_copy(update={"seeds": 5})}))
        assert packed.declared().test_seen == 1

    def test_other_data_and_another_version_of_the_task_are_errors(self, store: Store) -> None:
        with pytest.raises(OtherStudyError, match="data differ"):
            store.declare(WANTED.model_copy(update={"data": "f" * 16}))
        with pytest.raises(OtherStudyError, match="task's version is 1 there, 2 here"):
            store.declare(WANTED.model_copy(update={"task_version": 2}))

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[]",
            '{"study": 3}',
            WANTED.model_dump_json()[:-40],
            pytest.param("[" * 200_000, id="nested"),
            pytest.param(WANTED.model_dump_json().replace('"seeds":', '"seeds":1,"seeds":'), id="a key twice"),
            pytest.param(WANTED.model_dump_json().replace('"seeds":2', '"seeds":true'), id="a truth value"),
            pytest.param(WANTED.model_dump_json().replace('"seeds":', '"sedes":1,"seeds":'), id="another field"),
        ],
    )
    def test_an_invalid_declaration_raises_a_one_line_error(self, content: str, store: Store) -> None:
        (store.folder / "study.json").write_text(content)
        with pytest.raises(BrokenStudyError, match=r"study\.json is not a valid study") as refusal:
            store.declare(WANTED)
        assert "\n" not in str(refusal.value)

    def test_a_missing_declaration_raises_a_one_line_error(self, tmp_path: Path) -> None:
        with pytest.raises(BrokenStudyError, match="the file does not exist"):
            Store(tmp_path).declared()

    def test_old_temporary_files_of_killed_processes_are_deleted(self, store: Store) -> None:
        old, new = (store.folder / "records" / f".{name}.json.1-ab.tmp" for name in ("old", "new"))
        for path in (old, new):
            path.write_text("half")
        long_ago = time.time() - STALE_SECONDS - 1
        os.utime(old, (long_ago, long_ago))
        store.declare(WANTED)
        assert (old.exists(), new.exists()) == (False, True)


class TestErrors:
    def test_a_folder_under_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=r"cannot write .*file") as refusal:
            Store(tmp_path / "file" / "study").declare(WANTED)
        assert "\n" not in str(refusal.value)

    def test_a_folder_that_nobody_can_write(self) -> None:
        with pytest.raises(StoreError, match="cannot write /proc/study"):
            Store(Path("/proc/study")).declare(WANTED)

    def test_a_full_disk(self, small_disk: Path) -> None:
        store = Store(small_disk / "study")
        store.declare(WANTED)
        records = [make_record(make_trial(seed=seed)) for seed in range(100)]
        with pytest.raises(StoreError, match="No space left on device"):
            for record in records:
                store.write(record)
        stored = [record for record in records if store.read(record.trial)]
        assert 0 < len(stored) < len(records)
        files = [path for path in store.folder.rglob("*") if path.is_file()]
        assert len(files) == len(stored) + 1, "a partly written file was left"
        (small_disk / "study" / "study.json").unlink()  # makes space for a record
        for path in (store.folder / "records").glob("*.json"):
            path.unlink()
        store.write(records[-1])
        assert store.read(records[-1].trial) == records[-1]

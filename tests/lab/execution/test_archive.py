"""Packed studies have the same records as unpacked ones, and can be extended and packed again without loss."""

import gzip
from pathlib import Path

import pytest

from lab_factory import make_record, make_trial
from steadystep.lab.errors import UserError
from steadystep.lab.execution.archive import NAME, BrokenPackError, pack, unpack
from steadystep.lab.execution.store import Store
from tiny_study import WANTED

RECORDS = [make_record(make_trial(seed=seed)) for seed in range(3)]


@pytest.fixture
def study(store: Store) -> Path:
    """Return the folder of a study with two of three records."""
    for record in RECORDS[:2]:
        store.write(record)
    return store.folder


def test_packed_records_are_read_like_unpacked_ones(study: Path, tmp_path: Path, warnings: list[str]) -> None:
    pack(study, tmp_path / "packed")
    store = Store(tmp_path / "packed", warnings.append)
    assert [store.read(record.trial) for record in RECORDS] == [*RECORDS[:2], None]
    assert store.declared() == Store(study, warnings.append).declared()
    assert warnings == []


def test_a_packed_study_is_packed_again_to_the_same_bytes(study: Path, tmp_path: Path) -> None:
    pack(study, tmp_path / "once")
    pack(tmp_path / "once", tmp_path / "twice")
    pack(tmp_path / "twice", tmp_path / "twice")
    assert (tmp_path / "twice" / NAME).read_bytes() == (tmp_path / "once" / NAME).read_bytes()


def test_an_extended_packed_study_keeps_its_records(study: Path, tmp_path: Path, warnings: list[str]) -> None:
    pack(study, tmp_path / "packed")
    extended = Store(tmp_path / "packed", warnings.append)
    extended.declare(WANTED)
    extended.write(RECORDS[2])
    pack(tmp_path / "packed", tmp_path / "again")
    store = Store(tmp_path / "again", warnings.append)
    assert [store.read(record.trial) for record in RECORDS] == RECORDS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no JSON\n"),
        gzip.compress(b"[]\n"),
        gzip.compress(b"[" * 200_000),
        gzip.compress(b'{"id": "a", "id": "b"}\n'),
    ],
    # Explicit ids, because compressed bytes contain the time and so differ between processes.
    ids=["empty", "no gzip", "no JSON", "no record", "nested", "a key twice"],
)
def test_a_broken_pack_is_named(study: Path, content: bytes) -> None:
    (study / NAME).write_bytes(content)
    with pytest.raises(BrokenPackError, match=r"records\.jsonl\.gz does not contain packed records"):
        unpack(study)
    with pytest.raises(BrokenPackError):
        pack(study, study)
    assert (study / NAME).read_bytes() == content


def test_a_packed_record_that_was_edited_counts_as_not_run(study: Path, tmp_path: Path, warnings: list[str]) -> None:
    pack(study, tmp_path / "packed")
    path = tmp_path / "packed" / NAME
    edited = gzip.decompress(path.read_bytes()).replace(b'"outcome": "finished"', b'"outcome": "diverged"')
    path.write_bytes(gzip.compress(edited))
    assert Store(tmp_path / "packed", warnings.append).read(RECORDS[0].trial) is None
    assert len(warnings) == 1 and "the trial counts as not run" in warnings[0]


@pytest.mark.parametrize("content", [b"[" * 200_000, b"[]", b"", b"{"], ids=["nested", "no object", "empty", "half"])
def test_a_broken_record_is_not_packed(study: Path, content: bytes, tmp_path: Path) -> None:
    path = next((study / "records").glob("*.json"))
    path.write_bytes(content)
    with pytest.raises(BrokenPackError, match=f"{path.name} is not a record") as error:
        pack(study, tmp_path / "packed")
    assert "\n" not in str(error.value)


def test_the_pack_of_another_study_is_not_overwritten(study: Path, tmp_path: Path) -> None:
    pack(study, tmp_path / "packed")
    other = Store(tmp_path / "other")
    other.declare(WANTED)
    other.write(RECORDS[0])
    before = (tmp_path / "packed" / NAME).read_bytes()
    with pytest.raises(UserError, match=r"contains 1 packed record that .*other does not have"):
        pack(tmp_path / "other", tmp_path / "packed")
    assert (tmp_path / "packed" / NAME).read_bytes() == before

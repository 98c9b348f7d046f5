"""The score counts what the page says it counts, and the page is up to date."""

from pathlib import Path
from typing import Any

from benchmarks.doctor.judge import judge
from benchmarks.doctor.records import Record, Records, fingerprint, read
from benchmarks.doctor.score import HELD, PAGE, baselines_table, groups, page, score


def said(**changed: Any) -> Record:
    record: Record = {
        "kind": "planted", "name": "x", "seed": 0, "program": "digits_mlp", "held_out": False, "expected": ["batch"],
        "places": ["example 3"], "culprit": "batch", "place": "example 3 of batch 8", "sentence": "", "verified": True,
        "held": HELD, "seconds": 1.0,
    }  # fmt: skip
    return {**record, **changed}


def test_a_right_diagnosis_counts_fully() -> None:
    found = score([said()])
    assert (found.culprit, found.place, found.verified, found.abstained, found.wrong) == (1, 1, 1, 0, 0)


def test_place_and_fix_count_only_with_the_right_class() -> None:
    found = score([said(culprit="range")])
    assert (found.culprit, found.place, found.verified, found.abstained, found.wrong) == (0, 0, 0, 0, 1)


def test_the_number_of_an_example_is_read_whole() -> None:
    assert score([said(place="example 31 of batch 8")]).place == 0
    assert score([said(place="batch 8, example 3")]).place == 1


def test_a_fix_that_held_too_short_or_was_not_verified_does_not_count() -> None:
    assert score([said(held=HELD - 1), said(verified=False)]).verified == 0


def test_nothing_named_is_an_abstention_and_an_error_is_one_too() -> None:
    found = score([said(culprit=None, place=None), said(culprit=None, place=None, error="...")])
    assert (found.abstained, found.wrong, found.errors) == (2, 0, 1)


def test_any_culprit_is_wrong_for_a_healthy_run() -> None:
    healthy = said(kind="healthy", expected=[], places=[])
    assert score([healthy, {**healthy, "culprit": None}]).wrong == 1


def test_groups_are_reported_apart() -> None:
    sound = said(kind="unseen_first", expected=[])
    records = [
        said(), said(held_out=True), said(expected=["transient"]), said(kind="public"), said(kind="unseen_first"),
        said(kind="unseen_second"), sound, said(kind="healthy", expected=[]), said(kind="baselines planted"),
    ]  # fmt: skip
    assert [len(group) for group in groups(records).values()] == [1] * 8


def test_the_baselines_judge_a_run_and_are_kept(tmp_path: Path) -> None:
    records = Records(tmp_path / "doctor.jsonl")
    missing = records.missing([("baselines planted", "rare-target", 0)])
    records.add(judge(missing[0]))
    again = Records(tmp_path / "doctor.jsonl")
    assert not again.missing(missing)
    [record] = read(tmp_path / "doctor.jsonl")
    assert record["expected"] == ["outlier-gradient"] and record["baselines"]["Lightning SpikeDetection"]["alarmed"]
    assert "| Lightning SpikeDetection | 1 of 1 |" in baselines_table([record])


def test_records_of_other_sources_are_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "doctor.jsonl"
    records = Records(path)
    records.add(said())
    path.write_text(path.read_text().replace(fingerprint("planted"), "other"))
    assert Records(path).missing([("planted", "x", 0)])


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, read()) == text

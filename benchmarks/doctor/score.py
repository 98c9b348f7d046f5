"""Score the records, and write the tables of the documentation from them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.doctor.planted.case import CULPRITS
from benchmarks.doctor.records import FIRST, ROOT, Record, read
from benchmarks.written_block import with_block

PAGE = ROOT / "docs" / "doctor-benchmark.md"
UNSEEN = {"unseen_first": "first unseen set", "unseen_second": "second unseen set"}
"""The kinds of records of programs by somebody who had not seen the doctor, and what they are called."""
HELD = 200
"""Steps that a fix must hold."""


@dataclass(frozen=True)
class Score:
    """How many diagnoses of some runs are right."""

    runs: int
    culprit: int
    place: int
    """Of those whose culprit is right."""
    verified: int
    """Fixes of a right culprit that were verified and held `HELD` steps."""
    abstained: int
    wrong: int
    """Another culprit named: wrong with confidence. For a healthy run, any trouble seen: a false alarm."""
    errors: int
    seconds: float
    """The median of a diagnosis."""


def score(records: Sequence[Record]) -> Score:
    """Score the diagnoses of some runs."""
    right = [record for record in records if record["culprit"] in record["expected"]]
    return Score(
        runs=len(records),
        culprit=len(right),
        place=sum(_placed(record["place"], record) for record in right),
        verified=sum(bool(record["verified"]) and record["held"] >= HELD for record in right),
        abstained=sum(record["culprit"] is None for record in records),
        wrong=sum(map(_is_wrong, records)),
        errors=sum("error" in record for record in records),
        seconds=median([record["seconds"] for record in records]) if records else 0.0,
    )


def _is_wrong(record: Record) -> bool:
    """Whether another culprit is named or, for a healthy run, any trouble is seen."""
    if not record["expected"]:
        return not record.get("healthy", True) or record["culprit"] is not None
    return record["culprit"] is not None and record["culprit"] not in record["expected"]


def _placed(place: str | None, record: Record) -> bool:
    # "example 1" is not in "example 11".
    return any(re.search(rf"{re.escape(expected)}(?!\d)", str(place or "")) for expected in record["places"])


def groups(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the diagnoses by the groups that are reported apart."""
    diagnoses = [record for record in records if not record["kind"].startswith("baselines")]
    planted = [record for record in diagnoses if record["kind"] == "planted"]
    faulty = [record for record in diagnoses if record["expected"]]
    lasting = [record for record in planted if record["expected"] != ["transient"]]
    return {
        "planted, development programs": [record for record in lasting if not record["held_out"]],
        "planted, held-out programs": [record for record in lasting if record["held_out"]],
        "planted, transient": [record for record in planted if record["expected"] == ["transient"]],
        "as from public reports": [record for record in diagnoses if record["kind"] == "public"],
        **{name: [record for record in faulty if record["kind"] == kind] for kind, name in UNSEEN.items()},
        "sound programs of these sets": [
            record for record in diagnoses if record["kind"] in UNSEEN and not record["expected"]
        ],
        "healthy": [record for record in diagnoses if record["kind"] == "healthy"],
    }


def scores_table(records: Sequence[Record]) -> str:
    """Return the scores of the groups as Markdown."""
    rows = [
        "| runs | number | class right | place right | fix verified | abstained | wrong | errors | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, group in groups(records).items():
        if group:
            s = score(group)
            is_sound = not any(record["expected"] for record in group)
            right = ["", "", ""] if is_sound else [s.culprit, s.place, s.verified]
            found = [*right, s.abstained, s.wrong]
            cells = [name, s.runs, *found, s.errors, f"{s.seconds:.1f}"]
            rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def first_table(records: Sequence[Record]) -> str:
    """Return how programs that were kept from the doctor were diagnosed the first time, and how they are now."""
    rows = [
        "| programs | number | class right at first | abstained | wrong | class right now |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    then, now = groups(read(FIRST)), groups(records)
    for name in ("planted, held-out programs", *UNSEEN.values(), "sound programs of these sets"):
        if group := then[name]:
            s, later = score(group), score(now[name])
            right = [s.culprit, later.culprit] if any(record["expected"] for record in group) else ["", ""]
            rows.append(f"| {name} | {s.runs} | {right[0]} | {s.abstained} | {s.wrong} | {right[1]} |")
    return "\n".join(rows)


def cases_table(records: Sequence[Record]) -> str:
    """Return what was said of each planted and each public-like case."""
    rows = ["| case | program | expected | said | place | held |", "| --- | --- | --- | --- | --- | ---: |"]
    cases = [record for record in records if record["expected"] and not record["kind"].startswith("baselines")]
    for record in sorted(cases, key=lambda record: (record["kind"], CULPRITS.index(record["expected"][0]))):
        program = f"{record['program']}{' (held out)' if record['held_out'] else ''}" if "program" in record else ""
        said = record["culprit"] or "nothing"
        said = said if record["culprit"] in record["expected"] else f"**{said}**"
        place = f"`{record['place']}`" if record.get("place") else ""
        place = place if not place or _placed(record["place"], record) else f"**{place}**"
        cells = [record["name"], program, record["expected"][0], said, place, record.get("held") or 0]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def baselines_table(records: Sequence[Record]) -> str:
    """Return what the baselines say of the same runs."""
    planted = [record for record in records if record["kind"] == "baselines planted"]
    sound = [record for record in records if record["kind"] == "baselines healthy"]
    rows = [
        "| tool | alarms | class right | place right | run saved | false alarms |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for who in planted[0]["baselines"] if planted else ():
        found = [(record["baselines"][who], record) for record in planted]
        right = [(said, record) for said, record in found if said["culprit"] in record["expected"]]
        saved = sum(bool(said["cured"]) for said, _ in found)
        cells = [
            who,
            f"{sum(said['alarmed'] for said, _ in found)} of {len(planted)}",
            len(right),
            sum(_placed(said["place"], record) for said, record in right),
            saved if any(said["cured"] is not None for said, _ in found) else "",
            f"{sum(record['baselines'][who]['alarmed'] for record in sound)} of {len(sound)}",
        ]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


BLOCKS = {"scores": scores_table, "first": first_table, "cases": cases_table, "baselines": baselines_table}


def page(text: str, records: Sequence[Record]) -> str:
    """Return the page of the documentation with the tables of the records."""
    for name, table in BLOCKS.items():
        text = with_block(text, name, "benchmarks/doctor", table(records))
    return text


def write_page(path: Path = PAGE) -> None:
    """Write the tables of all records into the page of the documentation."""
    path.write_text(page(path.read_text(encoding="utf-8"), read()), encoding="utf-8")

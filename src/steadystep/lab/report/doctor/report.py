"""The page of a diagnosis: one sentence, the timeline, the tensors, the swaps and the fixes."""

from steadystep.diagnosis.result import Diagnosis, Evidence
from steadystep.lab.counted import count
from steadystep.lab.report.doctor.figures import heat_map, timeline
from steadystep.lab.report.document import Document, Section
from steadystep.lab.report.table import Column, Table

OUTCOMES = {True: "sound", False: "not sound", None: "-"}


def doctor_document(diagnosis: Diagnosis, name: str, command: str) -> Document:
    """Return the document of a diagnosis. `command` is the command that reproduces it."""
    tensors = None if diagnosis.recording is None else heat_map(diagnosis.recording)
    sections = [Section("Timeline", (timeline(diagnosis),))]
    if tensors is not None:
        sections.append(Section("Tensors", (tensors,)))
    if diagnosis.evidence:
        sections.append(Section("Swaps", tables=(swaps_table(diagnosis.evidence),)))
    if diagnosis.race:
        sections.append(Section("Fixes", tables=(fixes_table(diagnosis.race),)))
    return Document(
        name="doctor",
        subject=name,
        title=_title(diagnosis),
        lede=f"{sentence(diagnosis)}",
        facts=(count(len(diagnosis.losses), "step"), count(len(diagnosis.evidence), "swap")),
        notes=(
            "A fix counts as verified if a replay with it holds "
            "200 steps: everything stays finite, and the loss of the same batches does not end higher.",
        ),
        sections=tuple(sections),
        setting=(answer_table(diagnosis),),
        sheets={"doctor.json": diagnosis.to_json()},
        command=command,
    )


def sentence(diagnosis: Diagnosis) -> str:
    """Return what is wrong and what mends it."""
    said = diagnosis.sentence[:1].upper() + diagnosis.sentence[1:] + "."
    return f"{said} {fix_sentence(diagnosis)}".strip()


def fix_sentence(diagnosis: Diagnosis) -> str:
    """Return what mends the run and how that is known; "" if nothing is known."""
    if not diagnosis.fix:
        return ""
    held = f"in replay, this held for {count(diagnosis.held, 'step')}" if diagnosis.verified else "this is not verified"
    return f"Fix: {diagnosis.fix} ({held})."


def swaps_table(evidence: tuple[Evidence, ...]) -> Table:
    """Return a row for each swap."""
    columns = (_NUMBER, Column("what was swapped", kind="prose"), Column("outcome", kind="prose"), Column("the run is"))
    rows = [(str(place), each.swap, each.outcome, OUTCOMES[each.healthy]) for place, each in enumerate(evidence, 1)]
    return Table.of("Swaps", columns, rows, remark="A culprit is named only if a swap decides the outcome.")


def fixes_table(race: tuple[Evidence, ...]) -> Table:
    """Return a row for each fix that was tried."""
    columns = (_NUMBER, Column("fix", kind="prose"), Column("in replay", kind="prose"), Column("holds"))
    rows = [
        (str(place), each.swap, each.outcome, "yes" if each.healthy else "no") for place, each in enumerate(race, 1)
    ]
    return Table.of("Fix race", columns, rows, remark="Each was replayed from before the trouble.")


_NUMBER = Column("no.", kind="number", key=True)


def answer_table(diagnosis: Diagnosis) -> Table:
    """Return the diagnosis in its parts."""
    rows = (
        ("culprit", diagnosis.culprit or "none proven"),
        ("place", diagnosis.place or "-"),
        ("step", "-" if diagnosis.step is None else str(diagnosis.step)),
        ("what was seen", diagnosis.trouble or "no trouble"),
    )
    columns = (Column("part", key=True), Column("answer", kind="prose"))
    return Table.of(
        "Diagnosis", columns, rows, remark="What was seen is how the trouble shows, the culprit is its cause."
    )


def _title(diagnosis: Diagnosis) -> str:
    if diagnosis.healthy:
        return "The run is healthy"
    if diagnosis.culprit is None:
        return "No culprit is proven"
    return f"{diagnosis.culprit}: {diagnosis.place}"

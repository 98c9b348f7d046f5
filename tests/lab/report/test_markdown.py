import re

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.report.markdown import markdown
from steadystep.lab.report.verdict_words import sentence
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.spec import Arm

COMMAND = "steadystep reproduce --task made-up"


def test_a_report_has_all_parts() -> None:
    results = make_results(diverged={"SGD": (0,)})
    summary = summarise(results)
    text = markdown(results, summary, COMMAND)
    assert text.startswith("# Made-up digits, MLP\n\n**Test accuracy after 4 epochs: ")
    for heading in ("Results after 4 epochs", "Verdicts", "Epochs to converge", "Tuning", "Cost", "Environment"):
        assert f"\n## {heading}\n" in text
    for verdict in summary.verdicts:
        assert sentence(verdict, results.task).replace("[", r"\[").replace("]", r"\]") in text
    assert "1 of 10 runs diverged" in text
    assert text.endswith(f"## How to reproduce\n\n```sh\n{COMMAND}\n```\n")


def test_tables_are_rectangular() -> None:
    results = make_results()
    lines = markdown(results, summarise(results), COMMAND).splitlines()
    tables: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("| "):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    for table in filter(None, tables):
        assert len({line.count(" | ") for line in table}) == 1, table
        assert set(table[1]) <= set("|-: ")


def test_names_cannot_break_the_document() -> None:
    name = "<script>alert(1)</script>|*x*\n# heading"
    results = make_results(arms=[Arm(name=name, optimizer="Adam", lrs=(0.1, 0.2, 0.3))], accuracy={name: 0.9})
    text = markdown(results, summarise(results), "echo ```` done")
    assert not re.search(r"(?<!\\)<", text)
    assert r"\<script\>alert(1)\</script\>\|\*x\*�\# heading" in text
    assert text.endswith("\n\n`````sh\necho ```` done\n`````\n")


def test_a_study_of_one_arm_has_no_verdicts() -> None:
    results = make_results(arms=ARMS[:1], task=make_task(claims={}))
    text = markdown(results, summarise(results), COMMAND)
    assert "Verdicts" not in text
    assert "The paper makes no claim" in text
    assert "nan" not in text.split()

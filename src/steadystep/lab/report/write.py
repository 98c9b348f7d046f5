"""A study's report as files in a folder."""

from pathlib import Path

from steadystep.lab.report.files import write_files
from steadystep.lab.report.markdown import markdown
from steadystep.lab.report.page import page
from steadystep.lab.report.sheets import convergence_csv, summary_csv, verdicts_csv
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


def write_report(results: Results, summary: Summary, folder: Path, command: str) -> list[Path]:
    """Write report.html, summary.md, summary.csv, verdicts.csv and convergence.csv, each whole or not at all.

    `command` is what reproduces the study; `folder` is made where it is missing. Returns what was written.

    Raises StoreError, in one line, where the folder cannot be written.
    """
    files = {
        "report.html": page(results, summary, command),
        "summary.md": markdown(results, summary, command),
        "summary.csv": summary_csv(results, summary),
        "verdicts.csv": verdicts_csv(summary),
        "convergence.csv": convergence_csv(summary),
    }
    return write_files(folder, files)

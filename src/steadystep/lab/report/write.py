"""Write the report of a study as files in a folder."""

from pathlib import Path

from steadystep.lab.report.files import write_files
from steadystep.lab.report.markdown import markdown
from steadystep.lab.report.page import page
from steadystep.lab.report.sheets import convergence_csv, summary_csv, verdicts_csv
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


def write_report(
    results: Results, summary: Summary, folder: Path, command: str, glossary: str | None = None
) -> list[Path]:
    """Write report.html, summary.md, summary.csv, verdicts.csv and convergence.csv, each atomically.

    Args:
        results: the runs of the study.
        summary: their statistics.
        folder: the folder, which is created if it does not exist.
        command: the command that reproduces the study.
        glossary: the link from summary.md to a glossary page. Default: no link.

    Returns:
        The paths of the files.

    Raises:
        StoreError: if the folder cannot be written; the message is one line.
    """
    files = {
        "report.html": page(results, summary, command),
        "summary.md": markdown(results, summary, command, glossary),
        "summary.csv": summary_csv(results, summary),
        "verdicts.csv": verdicts_csv(summary),
        "convergence.csv": convergence_csv(summary),
    }
    return write_files(folder, files)

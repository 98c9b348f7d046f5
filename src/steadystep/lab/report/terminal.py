"""Print the report of a study in a terminal."""

from rich.console import Console
from rich.text import Text

from steadystep.lab.report.ascii import console_text
from steadystep.lab.report.console_table import show_table
from steadystep.lab.report.headline import headline
from steadystep.lab.report.lines import say, say_styled
from steadystep.lab.report.notes import notes
from steadystep.lab.report.printable import printable
from steadystep.lab.report.seeds import paired_seeds
from steadystep.lab.report.tables import results_table
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

COLORS = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow"}


def render(results: Results, summary: Summary, console: Console) -> None:
    """Print the results table, a verdict for each pair, the notes and the headline, in colour in a terminal."""
    main = results_table(results, summary)

    def text(content: str, style: str = "") -> Text:
        return console_text(printable(content), console, style)

    seeds = paired_seeds(results)
    say(f"{results.task.title}: {main.title.lower()}, {seeds}", console, "bold")
    show_table(main, console)
    for verdict in summary.verdicts:
        line = text(f"{verdict.arm} vs {verdict.against}: ")
        line.append(verdict.verdict, style=f"bold {COLORS[verdict.verdict]}")
        say_styled(line.append_text(text(f", {evidence(verdict, results.task)}")), console)
    for note in notes(results, summary):
        say(f"Note: {note}", console, "dim")
    say(headline(results, summary), console)

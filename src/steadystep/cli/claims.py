"""Check claims of the theory, with a progress bar for each in a terminal and a line for each elsewhere."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from steadystep.lab.theory.claim import Claim
from steadystep.lab.theory.run import Outcome, run_claim


def check_claims(claims: Sequence[Claim], console: Console) -> list[Outcome]:
    """Run the checks one after the other, with their progress on `console`."""
    if not console.is_terminal:
        outcomes = []
        for claim in claims:
            outcomes.append(run_claim(claim))
            status, seconds = outcomes[-1].evidence.status, outcomes[-1].seconds
            console.print(f"{claim.id}: {status} ({seconds:.1f} s)", markup=False, highlight=False, soft_wrap=True)
        return outcomes
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
    )  # fmt: skip
    outcomes = []
    with Progress(*columns, console=console, transient=True) as progress:
        whole = progress.add_task("[bold]claims", total=len(claims))
        for claim in claims:
            bar = progress.add_task(claim.id, total=1.0)
            outcomes.append(run_claim(claim, lambda done, bar=bar: progress.update(bar, completed=done)))
            progress.remove_task(bar)
            progress.advance(whole)
    return outcomes

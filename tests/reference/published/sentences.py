"""What the front page says of each report."""

import json
import re
from pathlib import Path

from scipy import stats

from reference.published.records import table
from reference.published.tally import Tally

CLAIM = re.compile(
    r"\[(?P<folder>[\w-]+)\]\((?P=folder)/\w+\.md\)(?: \((?P<arm>[^,]+), (?P<size>[^)]*(?:\([^)]*\)[^)]*)*)\))?"
)

WORDS = {
    "better in": "better", "helps in": "better", "equivalent in": "equivalent", "makes no difference in": "equivalent",
    "worse in": "worse", "costs something in": "worse", "undecided in": "undecided", "open in": "open",
}  # fmt: skip


def check_sentences(page: str, folder: Path, tally: Tally) -> None:
    """Compare what the first lines of the front page say of each report with its records."""
    lines = [line for line in page.splitlines() if re.match(r"[123]\. \*\*", line)]
    tally.same("the number of answers", len(lines), 3)
    parts = [part for line in lines for part in re.split(rf"(?=\b(?:{'|'.join(WORDS)}) \[)", line)]
    for part in parts:
        words = next((words for words in WORDS if part.startswith(words)), None)
        for match in CLAIM.finditer(part) if words else ():
            outcomes = outcomes_of(folder / match["folder"])
            where = f"index.md: {words} {match['folder']}"
            if match["arm"] is None:
                tally.same(where, True, WORDS[words or ""] in {outcome for outcome, _ in outcomes.values()})
                continue
            arm, size = match["arm"], match["size"].replace("\\", "")
            said = [
                key
                for key, (outcome, texts) in outcomes.items()
                if (key[0], outcome) == (arm, WORDS[words or ""]) and any(text in size for text in texts)
            ]
            tally.same(f"{where}, {arm}, {size}", True, bool(said))


def outcomes_of(folder: Path) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """Return the outcome of every comparison of a report, and how its size is written."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    if (folder / "verdicts.csv").is_file():
        stored = json.loads((folder / "study.json").read_text())
        budget = max(stored["study"]["budgets"])
        edge = {
            row["arm"]: row["edge"] == "True" for row in table(folder / "summary.csv") if int(row["budget"]) == budget
        }
        for row in table(folder / "verdicts.csv"):
            value, low, high = (100 * float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
            settled = not (edge[row["arm"]] or edge[row["against"]] or stored.get("test_seen"))
            size = f"{round(value, 2) + 0.0:+.2f} points [{round(low, 2) + 0.0:+.2f}, {round(high, 2) + 0.0:+.2f}]"
            found[row["arm"], row["against"]] = (row["verdict"] if settled else "open", [size])
    if (folder / "success.csv").is_file():
        totals: dict[tuple[str, str], list[int]] = {}
        for row in table(folder / "success.csv"):
            total = totals.setdefault((row["cell"], row["arm"]), [0, 0])
            total[0] += int(row["succeeded"])
            total[1] += int(row["runs"])
        for (cell, arm), (other_cell, other) in ((a, b) for a in totals for b in totals if a != b):
            if cell == other_cell:
                (won, runs), (before, runs_before) = totals[cell, arm], totals[cell, other]
                p = fisher(won, runs, before, runs_before)
                better = "better" if won / runs > before / runs_before else "worse"
                text = f"{won} of {runs} runs succeeded instead of {before}"
                found[f"{arm} ({cell})", other] = (better if p < 0.05 else "undecided", [text])
    if (folder / "stability_sensitivity.csv").is_file():
        for row in table(folder / "stability_sensitivity.csv"):
            if row["change"]:
                value, low, high = (float(row[name]) for name in ("change", "change_low", "change_high"))
                outcome = "better" if high < 0 else "worse" if low > 0 else "undecided"
                found[row["arm"], ""] = (outcome, [f"{value:+.3f} nats [{low:+.3f}, {high:+.3f}]"])
    return found


def fisher(won: int, runs: int, before: int, runs_before: int) -> float:
    """Return the p value of Fisher's exact test, from the hypergeometric distribution."""
    drawn = stats.hypergeom(runs + runs_before, won + before, runs)
    each = [float(drawn.pmf(k)) for k in range(won + before + 1)]  # pyright: ignore[reportAttributeAccessIssue]
    return min(1.0, sum(p for p in each if p <= each[won] * (1 + 1e-7)))

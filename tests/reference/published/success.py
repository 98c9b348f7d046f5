"""Success by length."""

from pathlib import Path

from reference.published.records import records_of, table, threshold_of
from reference.published.tally import Tally


def check_success(folder: Path, tally: Tally) -> None:
    """Compare the numbers of successful runs with what the records say."""
    records = records_of(folder)
    for row in table(folder / "success.csv"):
        optimizer, threshold = row["arm"].split(" + ")[0], float(row["threshold"]) if row["threshold"] else None
        found = [
            r for r in records
            if r["trial"]["role"] == "final" and names_cell(r["trial"]["task"], row["cell"], int(row["length"]))
            and (r["trial"]["optimizer"], r["trial"]["lr"]) == (optimizer, float(row["lr"]))
            and threshold_of(r) == threshold
        ]  # fmt: skip
        where = f"{folder.name}, {row['cell']}, {row['arm']}, {row['length']}"
        tally.same(f"{where}, runs", row["runs"], len(found))
        won = sum(r["test_accuracy"] is not None and r["test_accuracy"] > 0.99 for r in found)
        tally.same(f"{where}, succeeded", row["succeeded"], won)
        tally.same(f"{where}, diverged", row["diverged"], sum(r["outcome"] == "diverged" for r in found))


def names_cell(task: str, cell: str, length: int) -> bool:
    """Return whether the name of a task, such as rnn-addition:lstm:20:50, has this cell and this length."""
    return task.split(":")[1:3] == [cell, str(length)]

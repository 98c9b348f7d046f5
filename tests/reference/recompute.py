"""Recompute every published number from the raw records, with numpy and scipy alone: no code of the package is used.

`python tests/reference/recompute.py` prints the number of values that were compared and each one that differs.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where `reference` is, if this file is run as a script

from reference.published.sentences import check_sentences
from reference.published.study import check_study
from reference.published.success import check_success
from reference.published.sweep import check_sweep
from reference.published.tally import Tally

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def folders(results: Path = RESULTS) -> Iterator[Path]:
    """Yield the folders of published records."""
    return (path.parent for path in sorted(results.glob("*/records.jsonl.gz")))


def check(folder: Path, tally: Tally) -> None:
    """Compare everything in a published folder."""
    if (folder / "study.json").is_file():
        check_study(folder, tally)
    elif (folder / "stability_sensitivity.csv").is_file():
        check_sweep(folder, tally)
    elif (folder / "success.csv").is_file():
        check_success(folder, tally)


def main() -> int:
    """Compare everything, print what differs, and return the number of mismatches."""
    tally = Tally()
    for folder in folders():
        check(folder, tally)
    check_sentences((RESULTS / "index.md").read_text(encoding="utf-8"), RESULTS, tally)
    for mismatch in tally.mismatches:
        print(mismatch)
    print(f"{tally.compared:,} values compared, {len(tally.mismatches)} mismatches")
    return len(tally.mismatches)


if __name__ == "__main__":
    sys.exit(min(1, main()))

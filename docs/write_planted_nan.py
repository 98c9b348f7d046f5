"""Write docs/reference/planted-nan.md: what is said of a NaN that was planted in ten small networks."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from planted_nan import NETWORKS, STEPS, Planted, plant  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "planted-nan.md"

TEXT = """# A planted NaN

In each of ten small networks, a NaN was planted at a random one of the first {steps} steps: once in a random example of
the batch, and once in the gradient of a random tensor. `steadystep.Adam(model.named_parameters(), clip=1.0,
nonfinite="raise")` then stopped. The table shows what the error and the ledger say. This page is written by
`docs/write_planted_nan.py`, and the tests check it.

A NaN in an example spreads to the gradients of all tensors that it passes through, so the error names them all; the
step is the one to look at. A NaN in one tensor's gradient is named alone.

| network | planted in | at step | `error.step` | `error.tensors` | looks like | `ledger["faults"]` |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Return the whole page as Markdown."""
    cases = [(name, seed, in_example) for seed, name in enumerate(NETWORKS) for in_example in (True, False)]
    return TEXT.replace("{steps}", str(STEPS)) + "".join(_row(plant(*case)) for case in cases)


def _row(found: Planted) -> str:
    tensors, faults = found.error.tensors, found.ledger["faults"]
    named = f"`{tensors[0]}`" if len(tensors) == 1 else f"{len(tensors)} of {found.tensors}"
    counted = f"`{faults}`" if len(faults) == 1 else f"1 for each of {len(faults)}"
    place = found.place if found.place.startswith("example") else f"`{found.place}`"
    cells = (found.network, place, found.step, found.error.step, named, found.looks_like, counted)
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

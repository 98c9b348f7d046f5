"""Write docs/reference/differences-from-torch.md: the table of differences that the tests check, and what it means."""

import json
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from benchmarks import denormals  # noqa: E402
from torch_differences import DIFFERENCES, Difference  # noqa: E402
from torch_tables import PEERS  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "differences-from-torch.md"

TEXT = """# Differences from torch.optim

{peers} are also in torch.optim. With the options of torch's
own tests of them, they take the same steps in float64, follow schedulers to the same parameters, refuse the same
arguments, and exchange checkpoints in both directions. This page is written by `docs/write_differences.py` from the
table of the tests, which compare the two libraries (torch {version}): a difference that is not in the table fails a
test, and so does a row that is no longer a difference.

## In plain words { #in-plain-words }

- **A refused step.** If a gradient is not finite, torch writes nan into the parameters. Here the step is refused: no
  parameter, no moment and no step count changes, and the [ledger](functions.md) says why. With
  `nonfinite="propagate"` the step is taken as torch takes it.
- **A gradient of another dtype than its parameter** is used in full precision, which is that of the state: a float32
  gradient of a bfloat16 parameter is not rounded to bfloat16. Parameters in half precision have state in float32.
- **Moments that underflow.** A new moment whose magnitude is below the smallest normal number of its dtype (1.2e-38 in
  float32) is stored as 0 by every backend. A processor may take ten times as long for a denormal number, and rounding
  can keep one where it is; torch's steps stay slow then, for rare rows of an embedding, say. With `eps=0`, a gradient
  below 1e-19 then has a second moment of 0, and the guard refuses the division by it.
  {denormals}
- **State of another shape** is a `ValueError` of `load_state_dict`, which names the tensor, its state and both shapes;
  nothing has been changed then. torch loads it, and the next step raises an error.
- **Step counters.** Every parameter has its own count, in `state[parameter]["step"]`, and only steps with a gradient
  of it count. That is so in torch too, except that its SGD counts none. Parameters that step together are computed
  with one count; if you change that of one parameter, the others keep theirs.
- **`differentiable` is not possible.** A step writes into the parameters in place and outside autograd, so no gradient
  can flow through it. For meta-learning use torch.optim.

## The table { #the-table }

In a row without names of optimizers, the difference is that of all of them.

| what | torch.optim | steadystep | why |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return the whole page as Markdown."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    version = next(pin for pin in pins if pin.startswith("torch==")).removeprefix("torch==")
    peers = f"{', '.join(f'`{name}`' for name in PEERS[:-1])} and `{PEERS[-1]}`"
    text = TEXT.replace("{peers}", peers).replace("{version}", version)
    measured = denormals.sentence(json.loads(denormals.RESULTS.read_bytes()))
    text = text.replace("{denormals}", textwrap.fill(measured, 118).replace("\n", "\n  "))
    return text + "".join(map(_row, DIFFERENCES))


def _row(row: Difference) -> str:
    names = ", ".join(f"`{name}`" if name.isidentifier() else name for name in row.names)
    where = "" if row.optimizers == PEERS else f" ({', '.join(row.optimizers)})"
    return f"| {row.area}: {names}{where} | {row.torch} | {row.ours} | {row.why} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

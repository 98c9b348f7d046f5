"""Write what `steadystep doctor` says of examples/broken_run.py into README.md and a how-to page."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "how-to" / "a-run-that-diverges.md")
RUN = "examples/broken_run.py:make_run"
BLOCK = re.compile(r"(<!-- doctor: written by docs/write_doctor.py -->\n).*?(<!-- /doctor -->)", re.DOTALL)


def said() -> str:
    """Return the command and what it prints."""
    command = [sys.executable, "-m", "steadystep", "doctor", "--run", RUN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 3:
        raise RuntimeError(f"the doctor names no culprit: {done.stdout}{done.stderr}")
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    return "\n".join([f"$ steadystep doctor --run {RUN}", *lines])


def with_block(page: str, text: str) -> str:
    """Return a page with the text in its block."""
    found, count = BLOCK.subn(lambda match: f"{match[1]}```console\n{text}\n```\n{match[2]}", page)
    if count != 1:
        raise RuntimeError(f"a page needs one block for the doctor, and has {count}")
    return found


if __name__ == "__main__":
    text = said()
    for path in PAGES:
        path.write_text(with_block(path.read_text(encoding="utf-8"), text), encoding="utf-8")

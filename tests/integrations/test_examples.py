"""Every example runs as its first lines say, learns, and changes at most three lines of a trainer."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAKESPEARE = EXAMPLES.parents[1] / "shared" / "data" / "tiny_shakespeare" / "train-00000-of-00001.parquet"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run(*arguments: str) -> str:
    """Run Python on a CPU, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=180, cwd=EXAMPLES, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def accuracy(printed: str) -> float:
    return float(printed.split("test accuracy ")[1].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "needs"),
    [("amp_loop", "sklearn"), ("lightning_digits", "lightning"), ("accelerate_digits", "accelerate")],
)
def test_an_example_learns(name: str, needs: str) -> None:
    if find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    assert accuracy(run(f"{name}.py")) > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [(), ("--sharded",)], ids=["replicated", "sharded"])
def test_two_ranks_learn(sharding: tuple[str, ...]) -> None:
    assert accuracy(run(*TORCHRUN, "distributed_digits.py", *sharding)) > 0.93


@pytest.mark.slow
def test_a_language_model_learns(tmp_path: Path) -> None:
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    if not SHAKESPEARE.exists():
        pytest.skip("the text is not here")
    text = tmp_path / "input.txt"
    text.write_text(parquet.read_table(SHAKESPEARE)["text"][0].as_py(), encoding="utf-8")
    printed = run("transformers_shakespeare.py", str(text))
    assert float(printed.split("loss ")[-1].split()[0]) < 3.2, "above the entropy of single characters, 3.3"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("nbclient", reason="nbclient is not installed: run make integrations")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))  # where the notebook finds digits.py; the study goes to tmp_path
    notebook = nbformat.read(EXAMPLES / "study_and_steps.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before committing"
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("application/vnd.plotly.v1+json" in data for data in shown) == 3
    assert any("undecided" in data.get("text/html", "") or "better" in data.get("text/html", "") for data in shown)
    (ledger,) = [data["text/plain"] for data in shown if "skipped_nonfinite" in data.get("text/plain", "")]
    assert "'skipped_nonfinite': 5" in ledger and "'applied': 220" in ledger


@pytest.mark.parametrize("name", ["lightning_digits", "accelerate_digits", "transformers_shakespeare"])
def test_at_most_three_lines_are_changed(name: str) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    marked = [line for line in lines if line.endswith("# steadystep")]
    imports = [line for line in lines if line.startswith(("import steadystep", "from steadystep"))]
    assert 0 < len(marked) <= 3 and len(imports) == 1, marked + imports

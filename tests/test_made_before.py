"""Checkpoints, study files and records of an earlier version still load: none of them contains a module path."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import steadystep
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import run_trial
from tiny_study import TASK, load

FOLDER = Path(__file__).parent / "made_before"
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (4,))]


def test_an_optimizers_checkpoint_continues_its_trajectory() -> None:
    """The checkpoint has a counter of the rule, the statistics of two clippers, and the ledger."""
    saved: dict[str, Any] = torch.load(FOLDER / "nadam_zclip_adagc.pt", weights_only=True)
    params = [param.clone().requires_grad_() for param in saved["params"]]
    optimizer = steadystep.NAdam(zip("wb", params, strict=True), clip=[steadystep.ZClip(warmup=2), steadystep.AdaGC()])
    optimizer.load_state_dict(saved["state"])
    for step in range(3, 6):
        for param, gradient in zip(params, gradients(step), strict=True):
            param.grad = gradient
        optimizer.step()
    torch.testing.assert_close([param.detach() for param in params], saved["later"], rtol=1e-12, atol=1e-14)
    assert optimizer.ledger["applied"] == 6


def test_a_trials_checkpoint_and_record(tmp_path: Path) -> None:
    """The resumed trial ends with the numbers of the record, up to rounding on another processor."""
    shutil.copy(FOLDER / "trial.pt", tmp_path)
    record = Record.model_validate_json((FOLDER / "trial.json").read_bytes())
    resumed = run_trial(record.trial, TASK, load(None), tmp_path / "trial.pt")
    assert resumed.outcome == "finished"
    for name in ("test_loss", "test_accuracy", "val_loss", "val_accuracy"):
        assert getattr(resumed, name) == pytest.approx(getattr(record, name), rel=1e-4)


@pytest.mark.parametrize("study", [path.parent.name for path in sorted(RESULTS.glob("*/study.json"))])
def test_a_study_file_and_its_records(study: str) -> None:
    results = read_study(RESULTS / study)
    assert all(results.final.values()) and all(results.tuning.values())


def test_no_module_path_is_stored() -> None:
    files = [*FOLDER.iterdir(), *RESULTS.glob("*/study.json"), *RESULTS.glob("*/records.jsonl.gz")]
    texts = {file: gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files}
    assert [file.name for file, text in texts.items() if b"steadystep." in text] == []

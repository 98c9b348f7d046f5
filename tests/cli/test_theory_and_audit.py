"""Test `steadystep theory` and `steadystep audit` end to end."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from steadystep.cli.app import app, run
from steadystep.lab.theory import CLAIMS
from steadystep.optimizers import adam

QUICK = ("starvation", "printed-adam")


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one-line error message of the command."""
    monkeypatch.setattr(sys, "argv", ["steadystep", *arguments])
    assert run() == 2
    out, error = capsys.readouterr()
    assert out == "" and len(error.strip().splitlines()) == 1
    return error


def test_claims_in_full() -> None:
    result = CliRunner().invoke(app, ["theory", *QUICK, QUICK[0]])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("starvation: holds") == 1
    assert "printed-adam: refuted" in result.stdout
    for words in ("31.77", "Source:", "✓ instead: ", "204"):
        assert words in result.stdout
    assert "starvation: holds (" in result.stderr  # progress, one line per claim


def test_claims_as_json() -> None:
    result = CliRunner().invoke(app, ["theory", *QUICK, "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [claim["id"] for claim in found] == list(QUICK)
    assert all(claim["status"] == claim["recorded"] for claim in found)
    assert all(measurement["reproduced"] for claim in found for measurement in claim["measurements"])


def test_a_changed_status_is_reported_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncorrected(t, lr, beta1, beta2, eps):
        return lr, beta1, 1 - beta1, beta2, 1 - beta2, 1.0, 1.0, eps

    key = ("torch", False)
    monkeypatch.setitem(adam.RULES, key, replace(adam.RULES[key], scalars=uncorrected))
    result = CliRunner().invoke(app, ["theory", "bias-correction", "--json"])
    assert result.exit_code == 1
    assert "bias-correction was recorded as 'holds' and is now 'refuted'" in result.stderr
    assert json.loads(result.stdout)[0]["status"] == "refuted"


def test_the_whole_table() -> None:
    quick = {name: claim for name, claim in CLAIMS.items() if name in QUICK}
    with patch.dict(CLAIMS, quick, clear=True):  # restores all claims in their order
        result = CliRunner().invoke(app, ["theory"])
    assert result.exit_code == 0
    assert "7 of 7" in result.stdout and "2 claims in" in result.stdout


def test_figures_are_written(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["theory", "starvation", "--figures", str(tmp_path / "figures")])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"theory.html", "theory.json", "starvation.json"}


def test_an_unknown_claim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'momentum'" in (error := refused(["theory", "momentum"], monkeypatch, capsys))
    assert "step-bound" in error


def test_figures_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    error = refused(["theory", "starvation", "--figures", str(tmp_path / "taken")], monkeypatch, capsys)
    assert "taken" in error


def test_the_audit() -> None:
    result = CliRunner().invoke(app, ["audit"])
    assert result.exit_code == 0, result.output
    for words in (
        "What the paper claims",
        "Its numbers",
        "misattributed",
        "Reddi, Kale & Kumar (2018)",
        "holds in part",
    ):
        assert words in result.stdout
    rows = json.loads(CliRunner().invoke(app, ["audit", "--json"]).stdout)
    assert {"id", "kind", "section", "quote", "verdict", "explanation", "evidence"} == set(rows[0])


def test_the_audit_checks_what_it_cites(monkeypatch: pytest.MonkeyPatch) -> None:
    from steadystep.cli import claims

    checked = []
    monkeypatch.setattr(
        claims, "check_claims", lambda chosen, console: checked.extend(claim.id for claim in chosen) or []
    )
    assert CliRunner().invoke(app, ["audit", "--check"]).exit_code == 0
    assert {"printed-adam", "step-bound", "bounded-step"} <= set(checked)


def test_a_missing_folder_of_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nowhere" in refused(["audit", "--results", str(tmp_path / "nowhere")], monkeypatch, capsys)


@pytest.mark.parametrize("arguments", [["theory", "printed-adam"], ["audit"], ["audit", "--json"]])
def test_output_is_ascii_in_an_ascii_terminal(arguments: list[str]) -> None:
    result = CliRunner(charset="ascii").invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.isascii() and len(result.stdout) > 500

"""Run the check of every claim: its status must equal the recorded one and its figures must be reproduced."""

import pytest

from steadystep.lab.theory import CLAIMS, RECORDED, UnknownClaimError, find_claim
from steadystep.lab.theory.claim import Evidence, Finding, Measurement, Status
from steadystep.lab.theory.run import run_claim

SLOW = ("nonconvergence", "cliff", "relaxed-smoothness", "stability-thresholds")

FIGURES = {
    "step-bound": {"3.162", "7.270", "6.53", "1.165", "1"},
    "starvation": {"0.324", "3751", "0.049", "0.140", "0.999", "31.77"},
    "nonconvergence": {"0.547", "0.955", "0.995", "-0.90", "-0.83", "-0.08"},
    "printed-adam": {"204"},
    "rnn-gradients": {"0.9", "19.4"},
    "stability-thresholds": {"38"},
    "clipping-bias": {"1.649", "1.00", "1.15", "1.65"},
}
"""Computed independently of this code, to the digits that must be reproduced."""


def test_claims_and_recorded_statuses_have_the_same_ids() -> None:
    assert len(CLAIMS) == 15
    assert list(CLAIMS) == list(RECORDED)
    for claim in CLAIMS.values():
        assert claim.statement.count("$") % 2 == 0 and claim.source and claim.title


def test_an_unknown_claim_error_lists_the_known_claims() -> None:
    with pytest.raises(UnknownClaimError, match=r"'momentum'.*step-bound"):
        find_claim("momentum")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CLAIMS]
)
def test_a_check_has_the_recorded_status_and_reproduces_the_figures(name: str) -> None:
    fractions: list[float] = []
    outcome = run_claim(CLAIMS[name], fractions.append)
    assert outcome.as_recorded, outcome.status_change
    assert {measurement.stated for measurement in outcome.evidence.measurements} == FIGURES.get(name, set())
    assert all(measurement.reproduced for measurement in outcome.evidence.measurements)
    assert all(0 <= done <= 1 for done in fractions)
    if outcome.evidence.figure:
        figure = outcome.evidence.figure()
        assert figure.id == name
        assert figure.plot.layout.paper_bgcolor == "rgba(0,0,0,0)"


TRUE, FALSE = Finding("stated", True), Finding("stated", False)


@pytest.mark.parametrize(
    ("findings", "measurements", "status"),
    [
        ([TRUE], [], "holds"),
        ([TRUE, FALSE], [], "refuted"),
        ([FALSE, Finding("with it", True, "assuming")], [], "needs an assumption"),
        ([FALSE, Finding("with it", False, "assuming")], [], "unsettled"),
        ([FALSE, Finding("instead", True, "instead")], [], "refuted"),
        ([FALSE, Finding("instead", False, "instead")], [], "unsettled"),
        ([TRUE], [Measurement("figure", 1.234, "1.23")], "holds"),
        ([TRUE], [Measurement("figure", 1.236, "1.23")], "unsettled"),
        ([TRUE], [Measurement("figure", float("nan"), "1.23")], "unsettled"),
        ([], [], "unsettled"),
    ],
)
def test_findings_decide_the_status(findings: list[Finding], measurements: list[Measurement], status: Status) -> None:
    assert Evidence(tuple(findings), tuple(measurements)).status == status

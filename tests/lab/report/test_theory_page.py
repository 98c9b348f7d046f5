import json
import re
from pathlib import Path

import pytest
from plotly import graph_objects as go

from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.mathematics import mathematics
from steadystep.lab.report.theory_page import theory_page, write_theory
from steadystep.lab.system.atomic import StoreError
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement
from steadystep.lab.theory.run import Outcome

SCRIPT = "<script>alert(1)</script>"


def drawn() -> Figure:
    return Figure(
        "cliff", f"title {SCRIPT}", f"caption {SCRIPT}", styled(go.Figure(go.Scatter(y=[1, 2], name="</script>")))
    )


def made() -> Outcome:
    claim = Claim(
        "cliff", f"Title {SCRIPT}", f"$a < b$ {SCRIPT}", f"Source {SCRIPT}", lambda tell: evidence, (f"$c$ {SCRIPT}",)
    )
    findings = (Finding(f"found {SCRIPT}", False), Finding("instead", True, "instead"))
    evidence = Evidence(findings, (Measurement(f"figure {SCRIPT}", 1.5, "1.5"),), drawn)
    return Outcome(claim, evidence, "refuted", 0.5)


def test_all_text_is_escaped() -> None:
    html = theory_page([made()], [drawn()])
    assert "<script>alert" not in html
    assert html.count("<script") == 3  # the figures' data, plotly.js, our own
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    match = re.search(r'<script type="application/json" id="plots">(.*?)</script>', html, re.DOTALL)
    assert match and json.loads(match[1])[0]["data"][0]["name"] == "</script>"


def test_a_claim_has_all_parts() -> None:
    html = theory_page([made()], [drawn()])
    for part in ("refuted", "<mi>a</mi><mo>&#x0003C;</mo><mi>b</mi>", "Assuming: ", "<em>Instead:</em>", "1.5"):
        assert part in html, part


def test_a_lone_dollar_sign_is_refused() -> None:
    with pytest.raises(ValueError, match="no partner"):
        mathematics("costs $ 5")


def test_files_contain_the_figures_for_other_pages(tmp_path: Path) -> None:
    written = write_theory([made()], tmp_path / "new")
    assert [path.name for path in written] == ["theory.html", "theory.json", "cliff.json"]
    figure = json.loads((tmp_path / "new" / "cliff.json").read_text())
    assert set(figure) == {"id", "title", "caption", "data", "layout"}
    assert figure["layout"]["paper_bgcolor"] == figure["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"
    (claim,) = json.loads((tmp_path / "new" / "theory.json").read_text())
    assert (claim["id"], claim["status"], claim["recorded"]) == ("cliff", "refuted", "refuted")


def test_the_error_names_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="taken"):
        write_theory([made()], tmp_path / "taken")

"""Write docs/results and the measured parts of README.md from the records of studies.

`python docs/publish.py studies/mnist-mlp ...` packs finished studies into docs/results/FOLDER, with a summary, tables
and a picture, and does the same for the folders of other reports. With `--again`, it renders all published studies
again from their records. It always writes the front page and README.md from the contents of docs/results.
"""

import io
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from steadystep.lab.counted import count
from steadystep.lab.execution.archive import pack
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.paper.reports import read_report
from steadystep.lab.report.cells import mean_words
from steadystep.lab.report.front_page import front_page
from steadystep.lab.report.seeds import paired_seeds
from steadystep.lab.report.tables import results_table
from steadystep.lab.report.terminal import render
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.report.write import write_report
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.spec import command_for
from steadystep.lab.system.atomic import write_atomic

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
README = ROOT / "README.md"
BENCHMARKS = ROOT / "benchmarks" / "results"


def publish(study: Path) -> None:
    """Copy the records of a study into docs/results, together with the report based on them."""
    pack(study, RESULTS / study.name)
    render_study(RESULTS / study.name)


def render_study(folder: Path) -> None:
    """Write the report of a published study again, from its records in docs/results."""
    results = read_study(folder)
    with tempfile.TemporaryDirectory() as scratch:
        command = command_for(results.study, results.task, (folder / "study.json").relative_to(ROOT).as_posix())
        written = write_report(results, summarise(results), Path(scratch), command, glossary="../../glossary.md")
        for path in written:
            # The HTML page contains a whole plotting library; `steadystep report` can recreate it.
            if path.suffix != ".html":
                shutil.copy(path, folder / path.name)
        _photograph(Path(scratch) / "report.html", folder / "accuracy.png", "Accuracy while training")


def publish_document(folder: Path) -> None:
    """Copy the report of another command into docs/results: its Markdown, its tables, a picture and any records."""
    target = RESULTS / folder.name
    target.mkdir(parents=True, exist_ok=True)
    [page] = folder.glob("*.html")
    for path in [page.with_suffix(".md"), *folder.glob("*.csv")]:
        shutil.copy(path, target / path.name)
    if (folder / "records").is_dir():
        pack(folder, target)
    _photograph(page, target / f"{page.stem}.png")


def readme() -> str:
    """Return README.md with its measured parts rendered from docs/results."""
    text = README.read_text()
    for name, content in {
        "demo": _demo(),
        "mnist-mlp": _results("mnist-mlp"),
        "speed-summary": _speed_summary(),
        "speed": _speed(),
        "speed-cuda": _speed_on_a_device(),
        "stability": _report_result("digits-mlp-stability/stability.md"),
        "success": _report_result("rnn-temporal-order-success/success.md"),
    }.items():
        pattern = re.compile(rf"(<!-- {name}: written by docs/publish.py -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, content=content: match[1] + content + match[2], text)
        assert count == 1, f"README.md must contain the markers of {name!r} once, but they were found {count} times"
    return text


def _demo() -> str:
    """Return the final output of `make demo`."""
    results = read_study(RESULTS / "digits-mlp")
    console = Console(width=100, file=io.StringIO(), force_terminal=False, record=True)
    render(results, summarise(results), console)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _results(task: str) -> str:
    """Return a study's table with the paper's claims, its verdicts and the machine on which it was measured."""
    results = read_study(RESULTS / task)
    summary = summarise(results)
    chosen = ("Arm", "Test accuracy", "Paper", "Budget", "Epochs", "Clipped", "Diverged")
    table = results_table(results, summary)
    keep = [i for i, column in enumerate(table.columns) if column.title.startswith(chosen)]
    titles = [f"{table.columns[i].title} {table.columns[i].unit}".strip() for i in keep]
    rows = [titles, ["---"] * len(keep), *([row[i] for i in keep] for row in table.rows)]
    verdicts = [f"- {v.arm} vs {v.against}: **{v.verdict}**, {evidence(v, results.task)}" for v in summary.verdicts]
    first = results.final[results.study.arms[0].name, results.study.epochs][0].environment
    where = (
        f"{paired_seeds(results)} after {count(results.study.epochs, 'epoch')}, "
        f"{mean_words(results.study.seeds)}; {first.processor}, {count(first.cores, 'core')}, "
        f"{count(first.threads, 'thread')} per run, {first.dtype}, torch {first.torch}."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", where, "", *verdicts, ""])


def _report_result(report: str) -> str:
    """Return the result of a report in its own words, with the number of runs."""
    result = read_report(RESULTS / report)
    return f"{result.answer} ({result.title}; {', '.join(result.facts)}.)\n"


def _speed_summary() -> str:
    """Return how long clipping plus step take, as shares of the time of the fastest other implementation."""
    lines = []
    for file, where in (("steps.json", "processor"), ("cuda.json", "device")):
        measured = json.loads((BENCHMARKS / file).read_bytes())
        shares = {name: _share(times) for name, times in measured["models"]["ResNet-50"].items()}
        known = [share for share in shares.values() if share is not None]
        lines.append(
            f"{shares['Adam']:.2f} for Adam, and {min(known):.2f} to {max(known):.2f} for all optimizers, on "
            f"{measured['environment'][where]}"
        )
    return (
        "Clipping and step on the tensors of ResNet-50 take this share of the time of the fastest other library: "
        f"{'; '.join(lines)}. The tables are [below](#how-fast-it-is).\n"
    )


def _share(times: dict[str, dict[str, float]]) -> float | None:
    """Return our time as a share of that of the fastest other library, or None if no other was measured."""
    others = _others(times)
    return times["steadystep"]["median_ms"] / min(others.values()) if others else None


def _share_text(times: dict[str, dict[str, float]]) -> str:
    share = _share(times)
    return "–" if share is None else f"{share:.2f}"


def _ratios_to_limit(optimizers: Mapping[str, Any]) -> dict[str, float]:
    """Return the time of each optimizer's step, divided by that of moving its bytes."""
    return {
        name: times["steadystep"]["median_ms"] / times["streaming limit"]["median_ms"]
        for name, times in optimizers.items()
    }


def _speed() -> str:
    """Return the times of clipping plus step for ResNet-50 and a small network, as recorded by `make bench`."""
    measured = json.loads((BENCHMARKS / "steps.json").read_bytes())
    titles = ["Optimizer", "share of fastest other", "ratio to limit", "ResNet-50 ms", "fastest other ms"]
    titles += ["small MLP, ratio to limit", "small MLP ms", "fastest other ms"]
    rows = [titles, ["---"] * len(titles)]
    limits = {model: _ratios_to_limit(measured["models"][model]) for model in ("ResNet-50", "MLP of 6 tensors")}
    for name, times in measured["models"]["ResNet-50"].items():
        small = measured["models"]["MLP of 6 tensors"][name]
        rows.append([
            name,
            _share_text(times),
            f"{limits['ResNet-50'][name]:.2f}",
            f"{times['steadystep']['median_ms']:.1f}",
            _fastest_other(times, 1),
            f"{limits['MLP of 6 tensors'][name]:.1f}",
            f"{small['steadystep']['median_ms']:.3f}",
            _fastest_other(small, 3),
        ])  # fmt: skip
    machine, guard = measured["environment"], measured["guard_and_ledger"]
    units = measured["by_unit"]
    noise = "; ratios below 1 are the noise of these medians" if min(limits["ResNet-50"].values()) < 0.995 else ""
    overhead, overhead_of_all = (f"{100 * guard[name]:.1f}%" for name in ("share", "share_of_passes"))
    where = (
        f"Medians of interleaved runs in one process; {machine['processor']}, {count(machine['threads'], 'thread')}, "
        f"{machine['dtype']}, torch {machine['torch']}. The limit is the time of a kernel that moves the same "
        f"bytes and computes nothing{noise}. On the tensors of ResNet-50, the "
        f"guard and the ledger add {overhead} to a step that only clips and updates. The whole step, which also "
        "gathers the gradients and looks up the state as every optimizer has to, takes "
        f"{overhead_of_all} longer than the compiled passes alone. A step of Adam that clips unit by unit (AGC) takes "
        f"{units['agc_ms'] / units['norm_ms']:.2f} times as long as one that clips the norm."
    )
    replicas = json.loads((BENCHMARKS / "replicas.json").read_bytes())
    cores = replicas["environment"]["cores"]
    comparisons = {
        "1 workers": "with one worker each",
        f"{cores} workers": f"with {count(cores, 'worker')} each",
        "one at a time": f"with {count(cores, 'worker')}, compared with one trial at a time",
    }
    rates = [
        f"{label}, {row['trials_per_second_in_replicas']:.1f} instead of {row['trials_per_second_one_by_one']:.1f} "
        f"({row['ratio']:.1f} times as many)"
        for row, label in ((replicas[name], label) for name, label in comparisons.items())
    ]
    side_by_side = (
        f"Trials of the digits network per second, {replicas['replicas']} side by side compared with one by one: "
        f"{'; '.join(rates)}. The matrix products of the trials alone would allow "
        f"{replicas['products_alone']['ratio']:.1f} times as many trials in one thread as run there one by one."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", where, "", side_by_side, ""])


def _speed_on_a_device() -> str:
    """Return the times on a CUDA device, called from Python and as a CUDA graph, as recorded by `benchmarks.cuda`."""
    measured = json.loads((BENCHMARKS / "cuda.json").read_bytes())
    titles = ["Optimizer", "share of fastest other", "ratio to streaming", "ResNet-50 ms", "fastest other ms"]
    titles += ["CUDA graph ms", "torch fused, CUDA graph ms", "small MLP ms", "fastest other ms"]
    rows = [titles, ["---"] * len(titles)]
    for name, times in measured["models"]["ResNet-50"].items():
        small = measured["models"]["MLP of 6 tensors"][name]
        graph = times["steadystep, graph"]["median_ms"]
        fused = times.get("torch fused, graph")
        rows.append([
            name,
            _share_text(times),
            f"{graph / times['streaming limit, graph']['median_ms']:.2f}",
            f"{times['steadystep']['median_ms']:.2f}",
            _fastest_other(times, 2),
            f"{graph:.3f}",
            f"{fused['median_ms']:.3f}" if fused else "–",
            f"{small['steadystep']['median_ms']:.2f}",
            _fastest_other(small, 2),
        ])  # fmt: skip
    machine = measured["environment"]
    where = (
        f"Medians of interleaved runs in one process; {machine['device']}, {machine['dtype']}, "
        f"torch {machine['torch']}. A step called from Python spends more time on launching kernels than on running "
        "them; replayed as a CUDA graph, it takes only the time of the device. Streaming means two plain kernels in a "
        "CUDA graph that move the same bytes and compute nothing; faster ones may exist."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", where, ""])


def _fastest_other(times: dict[str, dict[str, float]], digits: int) -> str:
    others = _others(times)
    if not others:
        return "–"
    best = min(others, key=others.__getitem__)
    return f"{others[best]:.{digits}f} ({best})"


def _others(times: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the times of the other libraries, called as they are."""
    return {
        who: time["median_ms"]
        for who, time in times.items()
        if not who.startswith(("steadystep", "streaming limit")) and not who.endswith("graph")
    }


def _photograph(page: Path, picture: Path, title: str = "") -> None:
    """Save a screenshot of the first figure of a report, or of the figure with this title."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("publishing takes a screenshot of the report and needs chromium: install it")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1000, "height": 900}, device_scale_factor=1.5)
        tab.goto(page.as_uri())
        tab.wait_for_selector(".js-plotly-plot .main-svg")
        figure = tab.locator("figure", has=tab.locator(".js-plotly-plot"), has_text=title).first
        figure.scroll_into_view_if_needed()
        figure.screenshot(path=picture)
        chromium.close()


if __name__ == "__main__":
    again = sys.argv[1:] == ["--again"]
    for folder in sorted(path.parent for path in RESULTS.glob("*/study.json")) if again else ():
        render_study(folder)
    for argument in () if again else sys.argv[1:]:
        if (Path(argument) / "study.json").is_file():
            publish(Path(argument))
        else:
            publish_document(Path(argument))
    write_atomic(RESULTS / "index.md", front_page(RESULTS))
    README.write_text(readme())

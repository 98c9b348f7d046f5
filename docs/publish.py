"""Writes docs/results and the measured parts of README.md from studies' records: no figure there is typed by hand.

`python docs/publish.py studies/mnist-mlp ...` packs finished studies into docs/results/FOLDER, with summary, tables and
a picture, and likewise the folders of other reports; without an argument only the front page and README.md are written
again, from what is in docs/results.
"""

import io
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from steadystep.lab.execution.archive import pack
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.paper.reports import read_report
from steadystep.lab.report.front_page import front_page
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
    """Keep a study's records in the tree, with the report that they support."""
    results = read_study(study)
    folder = RESULTS / study.name
    pack(study, folder)
    with tempfile.TemporaryDirectory() as scratch:
        command = command_for(results.study, results.task, (folder / "study.json").relative_to(ROOT).as_posix())
        written = write_report(results, summarise(results), Path(scratch), command)
        for path in written:
            if path.suffix != ".html":  # the page holds a whole plotting library: `steadystep report` makes it again
                shutil.copy(path, folder / path.name)
        _photograph(Path(scratch) / "report.html", folder / "accuracy.png", "Accuracy while training")


def publish_document(folder: Path) -> None:
    """Keep another command's report in the tree: its Markdown, its tables, a picture, and its records if it has any."""
    kept = RESULTS / folder.name
    kept.mkdir(parents=True, exist_ok=True)
    [page] = folder.glob("*.html")
    for path in [page.with_suffix(".md"), *folder.glob("*.csv")]:
        shutil.copy(path, kept / path.name)
    if (folder / "records").is_dir():
        pack(folder, kept)
    _photograph(page, kept / f"{page.stem}.png")


def readme() -> str:
    """README.md with its measured parts written from docs/results."""
    text = README.read_text()
    for name, content in {
        "demo": _demo(),
        "mnist-mlp": _results("mnist-mlp"),
        "speed": _speed(),
        "speed-cuda": _speed_on_a_device(),
        "stability": _said("digits-mlp-stability/stability.md"),
        "success": _said("rnn-temporal-order-success/success.md"),
    }.items():
        pattern = re.compile(rf"(<!-- {name}: written by docs/publish.py -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, content=content: match[1] + content + match[2], text)
        assert found == 1, f"README.md must hold the markers of {name!r} once, found {found}"
    return text


def _demo() -> str:
    """What `make demo` prints when it is done."""
    results = read_study(RESULTS / "digits-mlp")
    console = Console(width=100, file=io.StringIO(), force_terminal=False, record=True)
    render(results, summarise(results), console)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _results(task: str) -> str:
    """A study's table beside the paper's claims, its verdicts, and what it was measured on."""
    results = read_study(RESULTS / task)
    summary = summarise(results)
    chosen = ("Arm", "Test accuracy", "Paper", "Epochs", "Clipped", "Diverged")
    table = results_table(results, summary)
    keep = [i for i, column in enumerate(table.columns) if column.title.startswith(chosen)]
    titles = [f"{table.columns[i].title} {table.columns[i].unit}".strip() for i in keep]
    rows = [titles, ["---"] * len(keep), *([row[i] for i in keep] for row in table.rows)]
    verdicts = [f"- {v.arm} vs {v.against}: **{v.verdict}**, {evidence(v, results.task)}" for v in summary.verdicts]
    first = results.final[results.study.arms[0].name, results.study.epochs][0].environment
    where = (
        f"{results.study.seeds} paired seeds after {results.study.epochs} epochs, mean ± 95% interval; "
        f"{first.processor}, {first.cores} cores, {first.threads} thread a run, {first.dtype}, torch {first.torch}."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", where, "", *verdicts, ""])


def _said(report: str) -> str:
    """What a report found, in its own words, and of how many runs."""
    said = read_report(RESULTS / report)
    return f"{said.found} ({said.title}; {', '.join(said.facts)}.)\n"


def _speed() -> str:
    """Clip and step on ResNet-50's tensors and on a small network's, from what `make bench` recorded."""
    found = json.loads((BENCHMARKS / "steps.json").read_bytes())
    titles = ["Optimizer", "ResNet-50 ms", "times the limit", "the fastest other", "small MLP ms", "the fastest other"]
    rows = [titles, ["---"] * len(titles)]
    for name, times in found["models"]["ResNet-50"].items():
        small = found["models"]["MLP of 6 tensors"][name]
        limit = times["steadystep"]["median_ms"] / times["streaming limit"]["median_ms"]
        rows.append([
            name,
            f"{times['steadystep']['median_ms']:.1f}",
            f"{limit:.2f}",
            _fastest_other(times, 1),
            f"{small['steadystep']['median_ms']:.3f}",
            _fastest_other(small, 3),
        ])  # fmt: skip
    machine, guard = found["environment"], found["guard_and_ledger"]
    deciding, all_told = (f"{100 * guard[name]:.1f}%" for name in ("share", "share_of_passes"))
    where = (
        f"Medians of interleaved runs in one process; {machine['processor']}, {machine['threads']} threads, "
        f"{machine['dtype']}, torch {machine['torch']}. The limit is a kernel that moves the same bytes and computes "
        f"nothing. On ResNet-50's tensors guard and ledger add {deciding} to a step that only clips and updates; with "
        f"gathering gradients and looking state up, as every optimizer has to, it is {all_told} above the bare passes."
    )
    replicas = json.loads((BENCHMARKS / "replicas.json").read_bytes())
    cores = replicas["environment"]["cores"]
    sides = {"1 workers": "with one worker each", f"{cores} workers": f"with {cores} workers each"}
    sides["one at a time"] = f"with {cores} workers against one trial at a time"
    rates = [
        f"{words}, {row['trials_per_second_in_replicas']:.1f} against {row['trials_per_second_one_by_one']:.1f}, "
        f"{row['ratio']:.1f} times as many"
        for row, words in ((replicas[name], words) for name, words in sides.items())
    ]
    together = (
        f"Trials of the digits' network a second, {replicas['replicas']} side by side against one by one: "
        f"{'; '.join(rates)}. Their products of matrices, by themselves and in one thread, would be "
        f"{replicas['products_alone']['ratio']:.1f} times as many."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", where, "", together, ""])


def _speed_on_a_device() -> str:
    """The same on a CUDA device, as called from Python and as a CUDA graph, from what `benchmarks.cuda` recorded."""
    found = json.loads((BENCHMARKS / "cuda.json").read_bytes())
    titles = ["Optimizer", "ResNet-50 ms", "the fastest other", "in a graph ms", "torch fused in one"]
    titles += ["times streaming", "small MLP ms", "the fastest other"]
    rows = [titles, ["---"] * len(titles)]
    for name, times in found["models"]["ResNet-50"].items():
        small = found["models"]["MLP of 6 tensors"][name]
        graph = times["steadystep, graph"]["median_ms"]
        fused = times.get("torch fused, graph")
        rows.append([
            name,
            f"{times['steadystep']['median_ms']:.2f}",
            _fastest_other(times, 2),
            f"{graph:.3f}",
            f"{fused['median_ms']:.3f}" if fused else "–",
            f"{graph / times['streaming limit, graph']['median_ms']:.2f}",
            f"{small['steadystep']['median_ms']:.2f}",
            _fastest_other(small, 2),
        ])  # fmt: skip
    machine = found["environment"]
    where = (
        f"Medians of interleaved runs in one process; {machine['device']}, {machine['dtype']}, "
        f"torch {machine['torch']}. As called from Python, where starting kernels takes longer than running them, and "
        "replayed as a CUDA graph, where only the device counts. Streaming is two plain kernels in a graph that move "
        "the same bytes and compute nothing; they are not the fastest that there could be."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", where, ""])


def _fastest_other(times: dict[str, dict[str, float]], digits: int) -> str:
    others = {
        who: time["median_ms"]
        for who, time in times.items()
        if not who.startswith(("steadystep", "streaming limit")) and not who.endswith("graph")
    }
    if not others:
        return "–"
    best = min(others, key=others.__getitem__)
    return f"{others[best]:.{digits}f} ({best})"


def _photograph(page: Path, picture: Path, title: str = "") -> None:
    """The first of the report's figures, or that with a title, as a reader sees it."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("publishing takes a picture of the report: install chromium")
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
    for argument in sys.argv[1:]:
        if (Path(argument) / "study.json").is_file():
            publish(Path(argument))
        else:
            publish_document(Path(argument))
    write_atomic(RESULTS / "index.md", front_page(RESULTS))
    README.write_text(readme())

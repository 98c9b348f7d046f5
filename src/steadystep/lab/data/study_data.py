"""The data of a study: frames, figures and text.

What needs pandas, Plotly or the statistics is imported where it is used, so that reading a study is quick.
"""

from collections.abc import Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from steadystep.lab.counted import count
from steadystep.lab.execution.stored_runs import StoredRuns
from steadystep.lab.report.files import write_files
from steadystep.lab.report.printable import printable
from steadystep.lab.report.seeds import seeds_of_all_budgets
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


class StudyData:
    """A study as data frames, figures and text, as read from its folder at one moment.

    Of an unfinished study there are `trials` and `curves`, with the runs so far; everything else raises
    `UnfinishedStudyError`. In a notebook, the object is shown as its headline, results and verdicts.

    Args:
        folder: The folder of the study.
        stored: The runs that the folder contains.
    """

    def __init__(self, folder: Path, stored: StoredRuns) -> None:
        self.folder = folder
        self._stored = stored

    @property
    def finished(self) -> bool:
        """Whether all trials of the study have been run."""
        return not isinstance(self._stored.outcome, str)

    @property
    def results(self) -> Results:
        """The declaration of the study, its records by arm and budget, and the chosen settings."""
        return self._stored.results

    @cached_property
    def summary(self) -> Summary:
        """The statistics of the study as objects; `arms`, `convergence` and `verdicts` are the same as frames."""
        from steadystep.lab.statistics.summarise import summarise

        return summarise(self.results)

    @property
    def headline(self) -> str:
        """The result of the study in one sentence."""
        from steadystep.lab.report.headline import headline

        return headline(self.results, self.summary)

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """One row for each run of an arm at a budget: its setting, its outcome and its cost.

        A tuning run that several budgets share has a row for each of them, with the same `trial`.
        """
        from steadystep.lab.data.frames import trials_frame

        return trials_frame(self._stored.runs, self._stored.task.recipe.also)

    @cached_property
    def curves(self) -> "pd.DataFrame":
        """One row for each row of `trials` and epoch: losses, accuracy, gradient norms and the share of clipped steps.

        A run that diverged has rows up to its last complete epoch.
        """
        from steadystep.lab.data.frames import curves_frame

        return curves_frame(self._stored.runs)

    @cached_property
    def arms(self) -> "pd.DataFrame":
        """One row for each arm and budget, as in summary.csv: the tuned setting and the statistics over seeds."""
        from steadystep.lab.data.frames import arms_frame

        return arms_frame(self.results, self.summary)

    @cached_property
    def verdicts(self) -> "pd.DataFrame":
        """One row for each pair of arms, as in verdicts.csv: verdict, difference, 95% interval, margin and p values."""
        from steadystep.lab.data.frames import verdicts_frame

        return verdicts_frame(self.summary)

    @cached_property
    def convergence(self) -> "pd.DataFrame":
        """One row for each arm and definition of convergence, as in convergence.csv."""
        from steadystep.lab.data.frames import convergence_frame

        return convergence_frame(self.summary)

    @cached_property
    def figures(self) -> "Mapping[str, Figure]":
        """The Plotly figures of the report by name, such as "accuracy-curves", in the order of the page."""
        from steadystep.lab.report.figures import figures

        return {figure.id: figure.plot for figure in figures(self.results, self.summary)}

    def to_parquet(self, folder: str | Path | None = None) -> list[Path]:
        """Write trials.parquet, curves.parquet and verdicts.parquet, each atomically, and return their paths.

        Args:
            folder: Where to write; created if it does not exist. Default: the folder of the study.

        Raises:
            UnfinishedStudyError: if trials have not been run; nothing is written then.
            StoreError: if the folder cannot be written; the message is one line.
        """
        frames = {"verdicts": self.verdicts, "trials": self.trials, "curves": self.curves}
        files = {f"{name}.parquet": _parquet(frames[name]) for name in ("trials", "curves", "verdicts")}
        return write_files(self.folder if folder is None else Path(folder), files)

    def __repr__(self) -> str:
        study = self._stored.study
        state = "finished" if self.finished else "unfinished"
        arms = count(len(study.arms), "arm")
        seeds = seeds_of_all_budgets(self.results) if self.finished else count(study.seeds, "seed")
        return printable(f"<StudyData {str(self.folder)!r}: {study.task}, {arms}, {seeds}, {state}>")

    def _repr_html_(self) -> str:
        from steadystep.lab.report.fragment import fragment, unfinished_fragment

        if isinstance(self._stored.outcome, str):
            return unfinished_fragment(self._stored.task, self._stored.outcome)
        return fragment(self.results, self.summary)


def _parquet(frame: "pd.DataFrame") -> bytes:
    content = BytesIO()
    frame.to_parquet(content, engine="pyarrow", index=False)
    return content.getvalue()

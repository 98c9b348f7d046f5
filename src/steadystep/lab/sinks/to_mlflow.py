"""Write trials as runs of MLflow, with the identity of the trial in a tag."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import logging
import os
import time

from steadystep.integrations.track.mlflow_sink import experiment_id, import_mlflow, write_metrics
from steadystep.integrations.track.names import accepted_name
from steadystep.lab.sinks.finished_run import FinishedRun

EXPERIMENT = "steadystep"
TAG = "steadystep.trial"
PAGE = 1000
RETRIES = "2"
_TALKATIVE = ("alembic", "mlflow.store.db.utils")  # they report every table that a new database gets


class ToMLflow:
    """Writes to the experiment "steadystep" at a tracking URI, or at the one that MLflow is set to."""

    instead = "use a URI such as mlflow:sqlite:///mlflow.db"

    def __init__(self, spec: str, uri: str | None) -> None:
        # A server that cannot be reached is noticed within seconds instead of minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        mlflow = import_mlflow()
        self.spec, self.errors = spec, (OSError, mlflow.exceptions.MlflowException)
        self._uri = uri
        self._partial: dict[str, str] = {}  # runs that were not finished, by the identity of the trial

    def written(self) -> set[str]:
        """Return the identities of the trials with a finished run."""
        self._client = import_mlflow().MlflowClient(self._uri)
        self._experiment = experiment_id(self._client, EXPERIMENT)
        finished, token = set(), None
        while True:
            runs = self._client.search_runs([self._experiment], max_results=PAGE, page_token=token)
            for run in runs:
                trial = run.data.tags.get(TAG, "")
                if run.info.status == "FINISHED":
                    finished.add(trial)
                elif trial:
                    self._partial[trial] = run.info.run_id
            token = runs.token
            if not token:
                return finished

    def write(self, run: FinishedRun) -> None:
        """Write a run and finish it."""
        from mlflow.entities import Param

        if run.identity in self._partial:
            self._client.delete_run(self._partial.pop(run.identity))
        tags = {TAG: run.identity, "task": run.task, "arm": run.arm, "role": run.tags[0], "outcome": run.tags[1]}
        created = self._client.create_run(
            self._experiment, start_time=int(1000 * time.time()), tags=tags, run_name=run.name
        )
        run_id = created.info.run_id
        self._client.log_batch(
            run_id, params=[Param(accepted_name(name), str(value)) for name, value in run.settings.items()]
        )
        write_metrics(self._client, run_id, run.curves)
        write_metrics(self._client, run_id, {len(run.curves): run.final})
        self._client.set_terminated(run_id, "FINISHED")

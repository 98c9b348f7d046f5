"""The sink of MLflow. A value that is not finite is stored as MLflow does it: infinity as the largest finite number."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import time
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from steadystep.integrations.extras import needs
from steadystep.integrations.track.names import accepted_name
from steadystep.integrations.track.sink import Sink

if TYPE_CHECKING:
    from mlflow import MlflowClient

AT_ONCE = 1000
"""Metrics that one request may have."""


def import_mlflow() -> ModuleType:
    """Return the package.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import mlflow
        import mlflow.exceptions
    except ImportError as error:
        raise needs("track.mlflow", "mlflow", "track") from error
    return mlflow


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the identity of the experiment with this name; create it if it does not exist."""
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def write_metrics(client: "MlflowClient", run_id: str, rows: Mapping[int, Mapping[str, float]]) -> None:
    """Write the metrics of each step, in as few requests as MLflow allows."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    entities = [
        Metric(accepted_name(name), value, now, step) for step, row in rows.items() for name, value in row.items()
    ]
    for start in range(0, len(entities), AT_ONCE):
        client.log_batch(run_id, metrics=entities[start : start + AT_ONCE])


def open_sink(
    run: Any, experiment: str | None, tracking_uri: str | None, name: str | None, prefix: str, per_tensor: bool
) -> "MLflowSink":
    """Return the sink of an open run, or that of a new one."""
    client = import_mlflow().MlflowClient(tracking_uri)
    if run is None:
        created = client.create_run(experiment_id(client, experiment or "Default"), run_name=name)
        return MLflowSink(client, created.info.run_id, True, prefix, per_tensor)
    if experiment is not None or name is not None:
        raise TypeError("mlflow takes an open run, or the experiment and the name of a new one, not both")
    if not hasattr(run, "info"):
        raise TypeError(f"mlflow takes a run, such as that of mlflow.start_run, and got {run!r}")
    return MLflowSink(client, run.info.run_id, False, prefix, per_tensor)


class MLflowSink(Sink):
    """Writes metrics to a run."""

    def __init__(self, client: "MlflowClient", run_id: str, owned: bool, prefix: str, per_tensor: bool) -> None:
        super().__init__(owned, prefix, per_tensor)
        self.client, self.run_id = client, run_id

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        write_metrics(self.client, self.run_id, {step: metrics})

    def _close(self, failed: bool) -> None:
        if self._owned:
            self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

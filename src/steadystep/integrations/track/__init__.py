"""Write the metrics of an optimizer to TensorBoard, Weights & Biases or MLflow, by one line in a training loop.

Each function opens a sink, and imports its package only then. A sink has `log(optimizer)`, which writes
`optimizer.metrics()`, and `close()`; it is a context manager too.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

    from steadystep.integrations.track.mlflow_sink import MLflowSink
    from steadystep.integrations.track.tensorboard_sink import TensorBoardSink
    from steadystep.integrations.track.wandb_sink import WandbSink

__all__ = ["mlflow", "tensorboard", "wandb"]


def tensorboard(
    target: "str | PathLike[str] | Any", *, prefix: str = "steadystep/", per_tensor: bool = True
) -> "TensorBoardSink":
    """Return a sink that writes event files for TensorBoard.

    Args:
        target: the folder of the event files, or an open SummaryWriter, which `close` then leaves open.
        prefix: what the name of each metric of the optimizer begins with. Default ``"steadystep/"``.
        per_tensor: whether to write the norms of all tensors. Default True.

    Raises:
        ImportError: if tensorboard is not installed.
    """
    from steadystep.integrations.track.tensorboard_sink import open_sink

    return open_sink(target, prefix, per_tensor)


def wandb(run: Any = None, *, prefix: str = "steadystep/", per_tensor: bool = True, **options: Any) -> "WandbSink":
    """Return a sink that writes to a run of Weights & Biases.

    Args:
        run: an open run, which `close` then leaves open. Default: a new one.
        prefix: what the name of each metric of the optimizer begins with. Default ``"steadystep/"``.
        per_tensor: whether to write the norms of all tensors. Default True.
        **options: what ``wandb.init`` takes, such as ``project`` and ``mode``. Without ``mode``, a new run is offline
            if no API key is found.

    Raises:
        ImportError: if wandb is not installed.
        TypeError: for an open run together with options for a new one.
    """
    from steadystep.integrations.track.wandb_sink import open_sink

    return open_sink(run, prefix, per_tensor, options)


def mlflow(
    run: Any = None,
    *,
    experiment: str | None = None,
    tracking_uri: str | None = None,
    name: str | None = None,
    prefix: str = "steadystep/",
    per_tensor: bool = True,
) -> "MLflowSink":
    """Return a sink that writes to a run of MLflow.

    MLflow takes only some characters in names; see `steadystep.integrations.track.names` for what becomes of others.
    Its databases hold an infinite value as the largest finite one.

    Args:
        run: an open run, such as that of ``mlflow.start_run()``, which `close` then leaves open. Default: a new one.
        experiment: the experiment of a new run, created if it does not exist. Default: MLflow's ``"Default"``.
        tracking_uri: where the run is, such as ``"sqlite:///mlflow.db"``. Default: that of MLflow.
        name: the name of a new run. Default: one that MLflow makes up.
        prefix: what the name of each metric of the optimizer begins with. Default ``"steadystep/"``.
        per_tensor: whether to write the norms of all tensors. Default True.

    Raises:
        ImportError: if mlflow is not installed.
        TypeError: for an open run together with an experiment or a name.
    """
    from steadystep.integrations.track.mlflow_sink import open_sink

    return open_sink(run, experiment, tracking_uri, name, prefix, per_tensor)

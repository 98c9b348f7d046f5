"""The sink of Weights & Biases. NaN and infinity are written as they are."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from steadystep.integrations.extras import needs
from steadystep.integrations.track.sink import Sink

if TYPE_CHECKING:
    from wandb import Run


def import_wandb() -> ModuleType:
    """Return the package.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import wandb

        wandb.init  # noqa: B018  # a folder `wandb` of offline runs would be imported as an empty package
    except (ImportError, AttributeError) as error:
        raise needs("track.wandb", "wandb", "track") from error
    return wandb


def default_mode() -> str | None:
    """Return "offline" if a new run would ask for an API key, and otherwise None, for the mode that is configured."""
    wandb = import_wandb()
    if wandb.setup().settings.mode != "online":
        return None
    return None if wandb.login(prompt=False, verify=False) else "offline"


def open_sink(run: Any, prefix: str, per_tensor: bool, options: Mapping[str, Any]) -> "WandbSink":
    """Return the sink of an open run, or that of a new one."""
    wandb = import_wandb()
    if run is None:
        mode = {} if "mode" in options else {"mode": default_mode()}
        active = wandb.run
        opened = wandb.init(**{**options, **mode})  # the active run, if there is one
        return WandbSink(opened, opened is not active, prefix, per_tensor)
    if options:
        raise TypeError(f"wandb takes an open run or the options of a new one ({', '.join(options)}), not both")
    if not hasattr(run, "define_metric"):
        raise TypeError(f"wandb takes a run, such as that of wandb.init, and got {run!r}")
    return WandbSink(run, False, prefix, per_tensor)


class WandbSink(Sink):
    """Writes rows to a run. Each metric is drawn over the number of the step, `steadystep/step`.

    The run's own count of rows is left alone: a row with a number below it, as after a checkpoint is resumed or if
    others write to the run too, would be dropped.
    """

    def __init__(self, run: "Run", owned: bool, prefix: str, per_tensor: bool) -> None:
        super().__init__(owned, prefix, per_tensor)
        self.run = run
        self._axis = f"{prefix}step"
        self._drawn: set[str] = set()
        run.define_metric(self._axis, hidden=True)
        run.define_metric(f"{prefix}*", step_metric=self._axis)

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        others = {name for name in metrics if not name.startswith(self._prefix)} - self._drawn
        for name in others:
            self.run.define_metric(name, step_metric=self._axis)
        self._drawn |= others
        self.run.log({**metrics, self._axis: step})

    def _close(self, failed: bool) -> None:
        if self._owned:
            self.run.finish(exit_code=int(failed))

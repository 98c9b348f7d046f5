"""Lightning: one callback for any LightningModule whose optimizers are of this package or guarded by it."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadystep.applied_steps import required, skip_aware
from steadystep.integrations.extras import needs
from steadystep.integrations.watched import RefusedSteps, refuse_second_clip
from steadystep.recorder.blackbox import blackbox
from steadystep.recorder.box import BlackBox

try:
    from lightning.pytorch import Callback
except ImportError as error:
    try:
        from pytorch_lightning import Callback
    except ImportError:
        raise needs("lightning", "Lightning", "lightning") from error

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class SteadyCallback(Callback):
    """Keep schedulers in step with applied steps, log the ledger, and warn of refused steps.

    Parameters get their names in the module, so that warnings, errors and metrics call them by these. The metrics go
    to the trainer's loggers and to `trainer.callback_metrics`; with several optimizers each has its number in the
    prefix, as in ``steadystep/0/``. In mixed precision the optimizer divides by the scale of the GradScaler itself.

    Args:
        every_n_steps: how often metrics are logged, in steps of the trainer. Default 50.
        per_tensor: whether to log the norms of all tensors. Default True.
        blackbox: the folder of a black box, which records the training; see `steadystep.blackbox`. With several
            optimizers each has a folder of its own in it, by its number. Default None, no box.

    Raises:
        TypeError: when training starts, for an optimizer that cannot refuse a step.
        ValueError: when training starts, if the trainer's `gradient_clip_val` and the optimizer both clip.

    The lines to change::

        from steadystep.integrations.lightning import SteadyCallback

        return steadystep.AdamW(self.named_parameters(), lr=1e-3, clip=1.0)  # in configure_optimizers
        trainer = Trainer(callbacks=[SteadyCallback()])
    """

    def __init__(self, every_n_steps: int = 50, *, per_tensor: bool = True, blackbox: str | Path | None = None) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps is {every_n_steps!r}: it must be a whole number from 1 up")
        self._every, self._per_tensor = every_n_steps, per_tensor
        self._watched: list[tuple[Any, RefusedSteps]] = []
        self._folder = None if blackbox is None else Path(blackbox)
        self.boxes: list[BlackBox] = []

    def on_fit_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Refuse a second clip, name the parameters, and make the schedulers hold for refused steps."""
        optimizers = [required(optimizer, "SteadyCallback") for optimizer in trainer.optimizers]
        for optimizer in optimizers:
            if trainer.gradient_clip_val:
                setting = f"gradient_clip_val={trainer.gradient_clip_val!r} of the Trainer"
                refuse_second_clip(optimizer, setting, "gradient_clip_val=None")
            optimizer.name_parameters(pl_module)
        for config in trainer.lr_scheduler_configs:
            config.scheduler = skip_aware(config.scheduler)

    def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Count from the checkpoint, which Lightning has loaded by now."""
        optimizers = [required(optimizer, "SteadyCallback") for optimizer in trainer.optimizers]
        self._watched = [(optimizer, RefusedSteps(optimizer)) for optimizer in optimizers]
        if self._folder is not None:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            schedulers = {f"scheduler {n}": each.scheduler for n, each in enumerate(trainer.lr_scheduler_configs)}
            folders = [self._folder / str(n) if len(optimizers) > 1 else self._folder for n in range(len(optimizers))]
            self.boxes = [
                blackbox(pl_module, optimizer, folder, scaler=scaler, others=schedulers)
                for optimizer, folder in zip(optimizers, folders, strict=True)
            ]

    def on_train_batch_start(
        self, trainer: "Trainer", pl_module: "LightningModule", batch: Any, batch_idx: int
    ) -> None:
        """Give the boxes the batch."""
        for box in self.boxes:
            box.batch(batch)

    def on_train_batch_end(
        self, trainer: "Trainer", pl_module: "LightningModule", outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Warn if the step of this batch was refused, log the metrics when it is time, and give the boxes the loss."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None:
            for box in self.boxes:
                box.loss(loss)
        for _, refused in self._watched:
            refused.look()
        if trainer.global_step % self._every == 0:
            self._log(trainer, dict(self._metrics()))

    def on_train_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Close the boxes."""
        for box in self.boxes:
            box.close()

    def _metrics(self) -> Iterable[tuple[str, float]]:
        for number, (optimizer, _) in enumerate(self._watched):
            prefix = f"steadystep/{number}/" if len(self._watched) > 1 else "steadystep/"
            yield from optimizer.metrics(prefix, per_tensor=self._per_tensor).items()

    def _log(self, trainer: "Trainer", metrics: dict[str, float]) -> None:
        for log in trainer.loggers:
            # As Lightning's own monitors do: a private attribute, which a test of the oldest and newest version reads.
            log.log_metrics(metrics, step=trainer.fit_loop.epoch_loop._batches_that_stepped)
        trainer.callback_metrics.update(metrics)

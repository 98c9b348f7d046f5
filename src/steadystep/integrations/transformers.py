"""Transformers: a mixin for any Trainer, and AdamW with the settings of its TrainingArguments."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

from pathlib import Path
from typing import TYPE_CHECKING, Any

import steadystep
from steadystep.applied_steps import required
from steadystep.integrations.extras import needs
from steadystep.integrations.watched import refuse_second_clip

try:
    from transformers import TrainingArguments

    from steadystep.integrations.accelerate import adopt
except ImportError as error:
    raise needs("transformers", "transformers and Accelerate", "transformers") from error

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object


def adamw(args: TrainingArguments, clip: Any = 1.0, **options: Any) -> tuple[type, dict[str, Any]]:
    """Return AdamW and its options from the arguments of a trainer, as its `optimizer_cls_and_kwargs`.

    Args:
        args: the arguments of the trainer, whose learning rate, betas and epsilon are used. The trainer itself uses
            the weight decay.
        clip: a maximal global norm, a clipper, a list of these, or None. Default 1.0.
        options: more options of `steadystep.AdamW`, which replace those of `args`.
    """
    given = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
    return steadystep.AdamW, {**given, "clip": clip, **options}


class SteadyTrainerMixin(_Trainer):
    """Make a Trainer hold its scheduler for refused steps, log the ledger, and warn of refused steps.

    The parameters get their names in the model. What is logged is what the trainer logs, at its logging steps, with
    `optimizer.metrics()` added. `grad_norm` is the norm before clipping; nothing is written to the gradients.

    Args:
        blackbox: the folder of a black box, which records the training; see `steadystep.blackbox`. Default None, none.

    Raises:
        TypeError: for an optimizer that cannot refuse a step.
        ValueError: if `max_grad_norm` and the optimizer both clip.

    The lines to change::

        from steadystep.integrations.transformers import SteadyTrainerMixin, adamw

        class SteadyTrainer(SteadyTrainerMixin, Trainer): ...

        args = TrainingArguments(..., max_grad_norm=0)
        trainer = SteadyTrainer(model, args, ..., optimizer_cls_and_kwargs=adamw(args, clip=1.0))
    """

    box: steadystep.BlackBox | None = None

    def __init__(self, *arguments: Any, blackbox: str | Path | None = None, **options: Any) -> None:
        self._box_folder = blackbox
        super().__init__(*arguments, **options)

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Train, and close the box at the end."""
        try:
            return super().train(*arguments, **options)
        finally:
            if self.box is not None:
                self.box.close()
                self.box = None

    def training_step(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Compute the gradients of a batch, and give the box the batch and its loss."""
        if self._box_folder is None:
            return super().training_step(model, inputs, *arguments, **options)
        if self.box is None:  # the optimizer and the scheduler exist by now, and a checkpoint is loaded
            self.box = steadystep.blackbox(
                self.model,
                required(self.optimizer, "SteadyTrainerMixin"),
                self._box_folder,
                scaler=self.accelerator.scaler,
                scheduler=self.lr_scheduler,
            )
        self.box.batch(inputs)
        loss = super().training_step(model, inputs, *arguments, **options)
        self.box.loss(loss)
        return loss

    def create_accelerator_and_postprocess(self) -> None:
        """Create the accelerator, and let it know of refused steps."""
        super().create_accelerator_and_postprocess()
        adopt(self.accelerator)

    def create_optimizer(self, *arguments: Any, **options: Any) -> Any:
        """Create the optimizer, refuse a second clip, and name the parameters."""
        optimizer = super().create_optimizer(*arguments, **options)
        found = required(optimizer, "SteadyTrainerMixin")
        if self.args.max_grad_norm:
            setting = f"max_grad_norm={self.args.max_grad_norm!r} of the TrainingArguments"
            refuse_second_clip(found, setting, "max_grad_norm=0")
        found.name_parameters(self.model)
        return optimizer

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Log what the trainer logs while it trains, with the metrics of the optimizer."""
        if "loss" in logs and self.optimizer is not None:
            logs = {**logs, **required(self.optimizer, "SteadyTrainerMixin").metrics()}
        super().log(logs, *arguments, **options)

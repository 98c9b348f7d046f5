"""Train on two ranks with one trainer, and print what is left: run by test_two_ranks.py, one process for each rank."""

# pyright: reportMissingImports=false

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

import steadystep
from integrations.raw_loop import CLIP, LR, Batch, Model, batches, scheduler_of


def plants_of(rank: int) -> tuple[float, ...]:
    """Return what is planted on one rank: a NaN on the second one alone."""
    return (0.0, float("nan") if rank == 1 else 0.0, 0.0)


def full(tensor: torch.Tensor) -> list[float]:
    whole: Any = tensor.detach()
    return (whole.full_tensor() if hasattr(whole, "full_tensor") else whole).flatten().tolist()


def show(model: torch.nn.Module, optimizer: Any, scheduler: Any) -> None:
    ledger = optimizer.ledger
    counts = {name: ledger[name] for name in ("attempted", "applied", "norm_before")}
    params = {name.removeprefix("module."): full(param) for name, param in model.named_parameters()}
    print("RESULT", json.dumps({"params": params, "lr": scheduler.get_last_lr(), **counts, "faults": ledger["faults"]}))


def adam(model: torch.nn.Module) -> Any:
    return steadystep.AdamW(model.parameters(), lr=LR, clip=CLIP)


def with_accelerate(folder: Path, sharded: bool) -> None:
    from accelerate import Accelerator, FullyShardedDataParallelPlugin

    from steadystep.integrations.accelerate import prepare

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, reshard_after_forward=True) if sharded else None
    accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
    model = Model()
    optimizer = adam(model)
    model, optimizer, scheduler = prepare(accelerator, model, optimizer, scheduler_of(optimizer))
    for batch in batches(plants_of(accelerator.process_index)):
        accelerator.backward(model(**batch)["loss"])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    show(model, optimizer, scheduler)


def with_lightning(folder: Path, sharded: bool) -> None:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    from steadystep.integrations.lightning import SteadyCallback

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Model()

        def configure_model(self) -> None:
            if sharded:
                fully_shard(self.inner, mesh=self.device_mesh["data_parallel"])

        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            return self.inner(**batch)["loss"]

        def configure_optimizers(self) -> Any:
            optimizer = adam(self)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler_of(optimizer), "interval": "step"}}

    strategy = ModelParallelStrategy(2, 1) if sharded else DDPStrategy(process_group_backend="gloo")
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "use_distributed_sampler": False,
    }
    trainer = Trainer(
        default_root_dir=folder, accelerator="cpu", devices=2, strategy=strategy, max_epochs=1,
        enable_checkpointing=False, callbacks=[SteadyCallback()], **quiet,
    )  # fmt: skip
    module = Module()
    trainer.fit(module, DataLoader(batches(plants_of(int(os.environ["RANK"]))), batch_size=None))  # type: ignore
    show(module.inner, trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler)


def with_transformers(folder: Path, sharded: bool) -> None:
    from transformers import Trainer, TrainingArguments

    from steadystep.integrations.transformers import SteadyTrainerMixin, adamw

    class SteadyTrainer(SteadyTrainerMixin, Trainer):
        def get_train_dataloader(self) -> Any:
            return DataLoader(batches(plants_of(int(os.environ["RANK"]))), batch_size=None)  # type: ignore

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = scheduler_of(self.optimizer if optimizer is None else optimizer)
            return self.lr_scheduler

    more = {"fsdp": "full_shard", "fsdp_config": {"fsdp_version": 2}} if sharded else {}
    args = TrainingArguments(
        str(folder), learning_rate=LR, max_grad_norm=0, report_to="none", use_cpu=True, max_steps=3, save_strategy="no",
        weight_decay=0.01, disable_tqdm=True, **more,
    )  # fmt: skip
    trainer = SteadyTrainer(Model(), args, optimizer_cls_and_kwargs=adamw(args, clip=CLIP))
    trainer.train()
    show(trainer.model, trainer.optimizer, trainer.lr_scheduler)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s")
    name, sharding, folder = sys.argv[1:]
    trainers = {"accelerate": with_accelerate, "lightning": with_lightning, "transformers": with_transformers}
    trainers[name](Path(folder), sharding == "sharded")
    if dist.is_initialized():
        dist.destroy_process_group()

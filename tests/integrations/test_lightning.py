"""SteadyCallback in Lightning's own Trainer."""

# pyright: reportMissingImports=false

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.utils.data import DataLoader

import steadystep
from integrations.raw_loop import (
    CLIP,
    CULPRIT,
    SOUND,
    WITH_HUGE,
    WITH_NAN,
    Batch,
    Model,
    Outcome,
    assert_same,
    batches,
    optimizer_of,
    outcome_of,
    scheduler_of,
    train,
)
from steadystep.integrations.lightning import SteadyCallback
from steadystep.recorder.folder import load

NAN = float("nan")


class Module(LightningModule):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.net, self.options, self.norms = Model().net, options, []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return Model.forward(self, **batch)["loss"]  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self, **self.options)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler_of(optimizer), "interval": "step"}}

    def on_train_batch_end(self, *_: Any) -> None:
        self.norms.append(self.trainer.optimizers[0].ledger["norm_before"])


def trainer_in(folder: Path, **options: Any) -> Trainer:
    given = {
        "max_epochs": 1,
        "callbacks": [SteadyCallback(every_n_steps=1)],
        "logger": False,
        "enable_checkpointing": False,
        **options,
    }
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **given,
    )


def fit(folder: Path, data: Sequence[Batch], module: Any = None, path: Any = None, **options: Any) -> Outcome:
    module, trainer = module or Module(), trainer_in(folder, **options)
    trainer.fit(module, DataLoader(data, batch_size=None), ckpt_path=path)  # type: ignore[arg-type]
    return outcome_of(module, trainer.optimizers[0], module.norms)


def rows_of(log: CSVLogger) -> list[dict[str, float]]:
    with (Path(log.log_dir) / "metrics.csv").open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_it_trains_as_a_loop_by_hand(tmp_path: Path) -> None:
    ours, raw = fit(tmp_path, batches(SOUND)), train(batches(SOUND))
    assert_same(ours, raw)
    assert ours.norms == raw.norms and ours.ledger["clipped"] > 0


def test_a_planted_nan_leaves_no_trace_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "steadystep"):
        ours = fit(tmp_path, batches(WITH_NAN))
    assert_same(ours, train(batches(SOUND)))
    told = [record.getMessage() for record in caplog.records if record.name == "steadystep"]
    assert [message.split(";")[0] for message in told] == [
        f"step {step} of AdamW was refused: the gradient is not finite in {CULPRIT}" for step in (3, 6)
    ]


def test_a_huge_element_is_clipped_as_by_hand(tmp_path: Path) -> None:
    ours, raw = fit(tmp_path, batches(WITH_HUGE)), train(batches(WITH_HUGE))
    assert_same(ours, raw)
    assert ours.norms[2] == pytest.approx(1e30) and ours.ledger["applied"] == len(WITH_HUGE)


@pytest.mark.parametrize("plants", [(0.0,) * 3, (0.0, 0.0, NAN), (NAN, 0.0, 0.0)], ids=["sound", "last", "first"])
def test_a_run_resumes_exactly(tmp_path: Path, plants: tuple[float, ...]) -> None:
    data = batches(plants)
    whole = fit(tmp_path, data, max_epochs=2)
    save = ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)
    fit(tmp_path, data, callbacks=[SteadyCallback(), save], enable_checkpointing=True)
    resumed = fit(tmp_path, data, path=tmp_path / "epoch=0.ckpt", max_epochs=2)
    assert_same(resumed, whole)
    assert resumed.ledger["attempted"] == 6 and resumed.ledger["skipped"] == whole.ledger["skipped"]


def test_norms_are_logged_under_the_names_of_the_parameters(tmp_path: Path) -> None:
    log = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    fit(tmp_path, batches(SOUND), logger=log)
    rows = rows_of(log)
    assert [row["steadystep/norm_before"] for row in rows] == train(batches(SOUND)).norms
    last = train(batches(SOUND)).ledger["norms"]
    assert {name: rows[-1][f"steadystep/norm/{name}"] for name in last} == last


def test_metrics_come_every_n_steps(tmp_path: Path) -> None:
    log = CSVLogger(tmp_path)
    fit(tmp_path, batches(SOUND), logger=log, callbacks=[SteadyCallback(every_n_steps=3, per_tensor=False)])
    rows = rows_of(log)
    assert len(rows) == 2 and not any("norm/" in name for name in rows[0])


def test_a_second_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^gradient_clip_val=1.0 of the Trainer clips before AdamW .*clip_val=None, or"
    ):
        fit(tmp_path, batches(SOUND), gradient_clip_val=1.0)
    fit(tmp_path, batches(SOUND), Module(clip=None), gradient_clip_val=1.0)  # one clip alone


def test_an_optimizer_without_a_ledger_is_refused(tmp_path: Path) -> None:
    class Plain(Module):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters())

    with pytest.raises(TypeError, match=r"^SteadyCallback needs an optimizer that can refuse a step, and got an SGD: "):
        fit(tmp_path, batches(SOUND), Plain())


def test_under_a_grad_scaler_infinite_steps_leave_no_trace(tmp_path: Path) -> None:
    def run(plants: Sequence[float]) -> Outcome:
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1000)
        precision = MixedPrecision("16-mixed", "cpu", scaler)
        ours = fit(tmp_path, batches(plants), plugins=[precision])
        assert scaler.get_scale() == 8.0 / 2 ** sum(plant != 0 for plant in plants)
        return ours

    refused, sound = run(WITH_NAN), run(SOUND)
    assert refused.ledger["skipped"] == 2 and refused.lr == sound.lr
    for name, param in refused.parameters.items():  # a smaller scale rounds other half-precision gradients
        torch.testing.assert_close(param, sound.parameters[name], rtol=1e-2, atol=1e-4)


def test_several_optimizers_are_watched_one_by_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Two(Module):
        automatic_optimization = False

        def configure_optimizers(self) -> Any:
            optimizers = [steadystep.SGD(layer.parameters(), lr=0.1, clip=CLIP) for layer in (self.net[0], self.net[2])]
            return optimizers, [scheduler_of(each) for each in optimizers]

        def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
            self.manual_backward(super().training_step(batch, batch_idx))
            for optimizer, scheduler in zip(self.optimizers(), self.lr_schedulers(), strict=True):  # type: ignore
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()

        def on_train_batch_end(self, *_: Any) -> None:
            pass

    log, module = CSVLogger(tmp_path), Two()
    fit(tmp_path, batches((0.0, NAN, 0.0)), module, logger=log)
    assert [scheduler.last_epoch for scheduler in module.lr_schedulers()] == [3, 2]  # type: ignore[union-attr]
    row = rows_of(log)[-1]
    assert (row["steadystep/0/applied"], row["steadystep/1/applied"]) == (3, 2)
    told = [record.getMessage() for record in caplog.records if record.name == "steadystep"]
    assert len(told) == 1 and CULPRIT in told[0]
    wrapped = module.optimizers()[1]  # type: ignore[index]
    assert wrapped.ledger["skipped"] == 1 and not hasattr(wrapped, "no_such_thing")


def test_steps_are_accumulated(tmp_path: Path) -> None:
    ours = fit(tmp_path, batches((0.0, 0.0, NAN, 0.0)), accumulate_grad_batches=2)
    assert (ours.ledger["attempted"], ours.ledger["applied"]) == (2, 1)
    assert_same(ours, fit(tmp_path, batches((0.0, 0.0)), accumulate_grad_batches=2))


def test_the_private_names_exist(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == 0


def test_a_black_box_records_the_training_and_what_led_to_a_refused_step(tmp_path: Path) -> None:
    callback = SteadyCallback(blackbox=tmp_path / "box")
    with_box = fit(tmp_path, batches(WITH_NAN), callbacks=[callback])
    assert_same(with_box, train(batches(SOUND)))
    (box,) = callback.boxes
    assert box.trigger is not None
    recording = load(tmp_path / "box")
    assert recording.trigger is not None and recording.trigger == box.trigger
    assert recording.trigger.step in recording.batches
    assert CULPRIT in recording.names
    assert recording.loss[0] > 0
    assert "scheduler 0" in recording.snapshots[0].state.others

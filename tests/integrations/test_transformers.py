"""SteadyTrainerMixin in transformers' own Trainer."""

# pyright: reportMissingImports=false

import math
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import transformers
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments

from integrations.raw_loop import (
    CLIP,
    CULPRIT,
    DECAY,
    LR,
    SOUND,
    WITH_HUGE,
    WITH_NAN,
    Batch,
    Model,
    Outcome,
    assert_same,
    batches,
    outcome_of,
    scheduler_of,
    train,
)
from steadystep.integrations.transformers import SteadyTrainerMixin, adamw
from steadystep.recorder.folder import load

NAN = float("nan")


class Batches(Dataset[Batch]):
    def __init__(self, data: Sequence[Batch]) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Batch:
        return self.data[index]


class SteadyTrainer(SteadyTrainerMixin, Trainer):
    """A trainer that takes its batches in order, and the schedule of the loop by hand."""

    def get_train_dataloader(self) -> Any:
        return self.accelerator.prepare(DataLoader(self.train_dataset, collate_fn=itemgetter(0)))  # type: ignore[arg-type]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = scheduler_of(self.optimizer if optimizer is None else optimizer)
        return self.lr_scheduler


def trainer_in(
    folder: Path, data: Sequence[Batch], clip: Any = CLIP, blackbox: Path | None = None, **options: Any
) -> SteadyTrainer:
    plain: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "num_train_epochs": 1,
        "learning_rate": LR,
        "weight_decay": DECAY,
        "max_grad_norm": 0,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    args = TrainingArguments(str(folder), **{**plain, **options})
    more: dict[str, Any] = {"optimizer_cls_and_kwargs": adamw(args, clip=clip), "blackbox": blackbox}
    return SteadyTrainer(Model(), args, train_dataset=Batches(data), **more)


def fit(
    folder: Path, data: Sequence[Batch], path: Any = None, **options: Any
) -> tuple[Outcome, list[dict[str, float]]]:
    trainer = trainer_in(folder, data, **options)
    trainer.train(resume_from_checkpoint=path)
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return outcome_of(trainer.model, trainer.optimizer, [entry["steadystep/norm_before"] for entry in logs]), logs


def by_hand(plants: Sequence[float]) -> Outcome:
    """Train by hand with the parameter groups of the Trainer, which leaves biases without weight decay."""
    return train(batches(plants), decay_biases=False)


def test_it_trains_as_a_loop_by_hand(tmp_path: Path) -> None:
    (ours, logs), raw = fit(tmp_path, batches(SOUND)), by_hand(SOUND)
    assert_same(ours, raw)
    assert ours.norms == raw.norms and len(logs) == len(SOUND)
    last = raw.ledger["norms"]
    assert {name: logs[-1][f"steadystep/norm/{name}"] for name in last} == last


def test_a_planted_nan_leaves_no_trace_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours, logs = fit(tmp_path, batches(WITH_NAN))
    assert_same(ours, by_hand(SOUND))
    told = [record.getMessage() for record in caplog.records if record.name == "steadystep"]
    assert [message.split(";")[0] for message in told] == [
        f"step {step} of AdamW was refused: the gradient is not finite in {CULPRIT}" for step in (3, 6)
    ]
    assert math.isnan(logs[2]["steadystep/norm_before"]) and logs[-1]["steadystep/skipped"] == 2


def test_a_huge_element_is_clipped_as_by_hand(tmp_path: Path) -> None:
    (ours, _), raw = fit(tmp_path, batches(WITH_HUGE)), by_hand(WITH_HUGE)
    assert_same(ours, raw)
    assert ours.norms[2] == pytest.approx(1e30) and ours.ledger["applied"] == len(WITH_HUGE)


@pytest.mark.parametrize("plants", [SOUND, WITH_NAN], ids=["sound", "nan"])
@pytest.mark.parametrize("middle", [2, 3])  # 3: right after a refused step
def test_a_run_resumes_exactly(tmp_path: Path, plants: tuple[float, ...], middle: int) -> None:
    data = batches(plants)
    whole, _ = fit(tmp_path / "whole", data)
    fit(tmp_path, data, save_strategy="steps", save_steps=middle)
    resumed, _ = fit(tmp_path / "again", data, path=str(tmp_path / f"checkpoint-{middle}"))
    assert_same(resumed, whole)
    assert resumed.ledger["skipped"] == whole.ledger["skipped"]


def test_a_second_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^max_grad_norm=1.0 of the TrainingArguments clips before .*max_grad_norm=0"):
        fit(tmp_path, batches(SOUND), max_grad_norm=1.0)
    ours, _ = fit(tmp_path, batches(SOUND), max_grad_norm=1.0, clip=None)  # one clip alone
    assert ours.ledger["clipped"] == 0


def test_the_logged_norm_is_the_one_before_clipping(tmp_path: Path) -> None:
    _, logs = fit(tmp_path, batches(SOUND))
    logged = [entry for entry in logs if "grad_norm" in entry]  # by transformers 5, also without a clip of its own
    assert len(logged) == (len(logs) if int(transformers.__version__.split(".")[0]) >= 5 else 0)
    for entry in logged:
        assert entry["grad_norm"] == pytest.approx(entry["steadystep/norm_before"], rel=1e-5)


def test_steps_are_accumulated(tmp_path: Path) -> None:
    ours, _ = fit(tmp_path, batches((0.0, 0.0, NAN, 0.0)), gradient_accumulation_steps=2)
    assert (ours.ledger["attempted"], ours.ledger["applied"]) == (2, 1)


def test_an_optimizer_without_a_ledger_is_refused(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, max_grad_norm=0)
    with pytest.raises(
        TypeError, match=r"^SteadyTrainerMixin needs an optimizer that can refuse a step, and got an Adam"
    ):
        SteadyTrainer(Model(), args, train_dataset=Batches(batches(SOUND))).train()


def test_adamw_has_the_settings_of_the_arguments(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), learning_rate=3e-4, adam_beta2=0.95, adam_epsilon=1e-6, use_cpu=True)
    optimizer, options = adamw(args, rounding="kahan")
    assert optimizer.__name__ == "AdamW" and options == {
        "lr": 3e-4,
        "betas": (0.9, 0.95),
        "eps": 1e-6,
        "clip": 1.0,
        "rounding": "kahan",
    }


@pytest.mark.parametrize("name", ["create_accelerator_and_postprocess", "create_optimizer", "log"])
def test_the_methods_that_are_overridden_exist(name: str) -> None:
    assert callable(getattr(Trainer, name))


def test_a_black_box_records_the_training_and_what_led_to_a_refused_step(tmp_path: Path) -> None:
    ours, _ = fit(tmp_path, batches(WITH_NAN), blackbox=tmp_path / "box")
    assert_same(ours, by_hand(SOUND))
    recording = load(tmp_path / "box")
    assert recording.trigger is not None
    assert recording.trigger.step in recording.batches
    assert CULPRIT in recording.names
    assert recording.loss[0] > 0
    assert "scheduler" in recording.snapshots[0].state.others

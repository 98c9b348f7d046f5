"""`prepare` around Accelerate's own Accelerator."""

# pyright: reportMissingImports=false

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import GradScalerKwargs
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
from steadystep.integrations.accelerate import SteadyOptimizer, adopt, prepare
from steadystep.recorder.folder import load

NAN = float("nan")


@pytest.fixture(autouse=True)
def _no_state_of_another_test() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Run:
    """A training run with Accelerate."""

    def __init__(self, data: Sequence[Batch], accelerator: Any = None, **options: Any) -> None:
        self.accelerator, self.data, self.norms = accelerator or Accelerator(cpu=True), data, []
        model = Model()
        optimizer = optimizer_of(model, **options)
        self.model, self.optimizer, self.loader, self.scheduler = prepare(
            self.accelerator,
            model,
            optimizer,
            DataLoader(list(data), batch_size=None),  # type: ignore[arg-type]
            scheduler_of(optimizer),  # type: ignore
        )

    def train(self, start: int = 0, end: int | None = None) -> "Run":
        for batch in self.data[start:end]:
            with self.accelerator.accumulate(self.model):
                self.accelerator.backward(self.model(**batch)["loss"])
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
                self.norms.append(self.optimizer.ledger["norm_before"])
        return self

    def outcome(self) -> Outcome:
        return outcome_of(self.model, self.optimizer, self.norms)


def test_it_trains_as_a_loop_by_hand() -> None:
    run, raw = Run(batches(SOUND)).train(), train(batches(SOUND))
    assert_same(run.outcome(), raw)
    assert run.norms == raw.norms
    metrics = run.optimizer.metrics("a/")
    assert {name: metrics[f"a/norm/{name}"] for name in raw.ledger["norms"]} == raw.ledger["norms"]


def test_a_planted_nan_leaves_no_trace_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(batches(WITH_NAN)).train()
    assert_same(run.outcome(), train(batches(SOUND)))
    told = [record.getMessage() for record in caplog.records if record.name == "steadystep"]
    assert [message.split(";")[0] for message in told] == [
        f"step {step} of AdamW was refused: the gradient is not finite in {CULPRIT}" for step in (3, 6)
    ]
    assert run.scheduler.scheduler.last_epoch == len(SOUND)


def test_a_huge_element_is_clipped_as_by_hand() -> None:
    run, raw = Run(batches(WITH_HUGE)).train(), train(batches(WITH_HUGE))
    assert_same(run.outcome(), raw)
    assert run.norms[2] == pytest.approx(1e30) and run.optimizer.ledger["applied"] == len(WITH_HUGE)


@pytest.mark.parametrize("plants", [SOUND, WITH_NAN])
@pytest.mark.parametrize("middle", [2, 3])  # 3: right after a refused step
def test_a_run_resumes_exactly(tmp_path: Path, plants: tuple[float, ...], middle: int) -> None:
    whole = Run(batches(plants)).train().outcome()
    Run(batches(plants)).train(end=middle).accelerator.save_state(str(tmp_path))
    again = Run(batches(plants))
    again.accelerator.load_state(str(tmp_path))
    assert again.optimizer.step_was_skipped is (plants is WITH_NAN and middle == 3)
    again.train(start=middle)
    assert_same(again.outcome(), whole)
    assert again.optimizer.ledger["skipped"] == whole.ledger["skipped"]


def test_a_tensor_that_was_at_fault_before_a_checkpoint_is_not_named_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(batches((0.0, NAN)))
    for param in run.model.parameters():
        param.grad = torch.full_like(param, NAN)
    run.optimizer.step()
    run.accelerator.save_state(str(tmp_path))
    again = Run(batches((0.0, NAN)))
    again.accelerator.load_state(str(tmp_path))
    again.train()
    told = [record.getMessage() for record in caplog.records if record.name == "steadystep"]
    assert "net.0.weight" in told[0] and "net.0.weight" not in told[1] and CULPRIT in told[1]


def test_a_second_clip_is_refused() -> None:
    run = Run(batches(SOUND))
    run.accelerator.backward(run.model(**run.data[0])["loss"])
    before = [param.grad.clone() for param in run.model.parameters()]
    with pytest.raises(
        ValueError, match=r"^accelerator.clip_grad_norm_\(1.0\) clips before AdamW .* no other clip in the loop"
    ):
        run.accelerator.clip_grad_norm_(run.model.parameters(), 1.0)
    with pytest.raises(ValueError, match=r"^accelerator.clip_grad_value_\(0.5\) clips before AdamW"):
        run.accelerator.clip_grad_value_(run.model.parameters(), 0.5)
    norm = run.accelerator.clip_grad_norm_(run.model.parameters(), float("inf"))  # measures
    run.optimizer.step()
    assert float(norm) == pytest.approx(run.optimizer.ledger["norm_before"])
    assert all(torch.equal(param.grad, old) for param, old in zip(run.model.parameters(), before, strict=True))


def test_one_clip_alone_is_allowed() -> None:
    run = Run(batches(SOUND), clip=None)
    run.accelerator.backward(run.model(**run.data[0])["loss"])
    run.accelerator.clip_grad_norm_(run.model.parameters(), CLIP)
    run.optimizer.step()
    assert run.optimizer.ledger["norm_before"] == pytest.approx(CLIP, rel=1e-4)


def test_the_norm_that_is_measured_is_without_the_scale() -> None:
    accelerator = fp16()
    run = Run(batches(SOUND), accelerator)
    run.accelerator.backward(run.model(**run.data[0])["loss"])
    norm = run.accelerator.clip_grad_norm_(run.model.parameters(), float("inf"))
    run.optimizer.step()
    assert float(norm) == pytest.approx(run.optimizer.ledger["norm_before"], rel=1e-5)


def fp16() -> Accelerator:
    """Return an accelerator with a GradScaler, which Accelerate makes for GPUs only."""
    accelerator = Accelerator(cpu=True, kwargs_handlers=[GradScalerKwargs(init_scale=8.0)])
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1000)
    return accelerator


def test_under_a_grad_scaler_infinite_steps_leave_no_trace() -> None:
    refused = Run(batches(WITH_NAN), fp16()).train()
    assert refused.accelerator.scaler.get_scale() == 2.0
    assert_same(refused.outcome(), Run(batches(SOUND), fp16()).train().outcome())  # scales are powers of two


def test_steps_are_accumulated() -> None:
    run = Run(batches((0.0, 0.0, NAN, 0.0)), Accelerator(cpu=True, gradient_accumulation_steps=2)).train()
    assert (run.optimizer.ledger["attempted"], run.optimizer.ledger["applied"]) == (2, 1)
    assert run.scheduler.scheduler.last_epoch == 1


def test_an_optimizer_without_a_ledger_is_refused() -> None:
    model = Model()
    with pytest.raises(TypeError, match=r"prepare needs an optimizer that can refuse a step, and got an SGD: "):
        prepare(Accelerator(cpu=True), model, torch.optim.SGD(model.parameters()))
    guarded = steadystep.guard(torch.optim.SGD(model.parameters(), lr=0.1), clip=1.0)
    assert isinstance(prepare(Accelerator(cpu=True), model, guarded)[1], SteadyOptimizer)


def test_several_optimizers_know_their_own_steps(caplog: pytest.LogCaptureFixture) -> None:
    model, accelerator = Model(), Accelerator(cpu=True)
    pair = [steadystep.SGD(layer.parameters(), lr=0.1, clip=CLIP) for layer in (model.net[0], model.net[2])]
    model, *prepared = prepare(accelerator, model, *pair, *map(scheduler_of, pair))
    (first, second), schedulers = prepared[:2], prepared[2:]
    (batch,) = batches((NAN,))
    accelerator.backward(model(**batch)["loss"])
    for each in (first, second):
        each.step()
    assert (first.step_was_skipped, second.step_was_skipped) == (False, True)
    assert [record.getMessage().split(":")[0] for record in caplog.records if record.name == "steadystep"] == [
        "step 1 of SGD was refused"
    ]
    assert len(schedulers) == 2


def test_what_a_prepared_optimizer_shows() -> None:
    run = Run(batches(SOUND))
    assert run.optimizer.last_step_applied is False and run.optimizer.step_was_skipped is False
    run.train()
    assert run.optimizer.last_step_applied is True and run.optimizer.ledger["applied"] == len(SOUND)
    run.optimizer.clip = 2.0
    assert run.optimizer.optimizer.clip == run.optimizer.clip and run.optimizer.clip == (steadystep.ClipNorm(2.0),)
    once = run.accelerator.clip_grad_norm_
    adopt(run.accelerator)
    assert run.accelerator.clip_grad_norm_ == once


def test_the_private_names_exist() -> None:
    assert isinstance(AcceleratedOptimizer.step_was_skipped, property)
    assert isinstance(Accelerator(cpu=True)._optimizers, list)


def test_a_black_box_records_the_training_and_what_led_to_a_refused_step(tmp_path: Path) -> None:
    accelerator, model = Accelerator(cpu=True), Model()
    optimizer = optimizer_of(model)
    loader = DataLoader(batches(WITH_NAN), batch_size=None)  # type: ignore[arg-type]
    model, optimizer, loader, scheduler = prepare(
        accelerator, model, optimizer, loader, scheduler_of(optimizer), blackbox=tmp_path / "box"
    )
    for batch in optimizer.box.watch(loader):
        accelerator.backward(model(**batch)["loss"])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    assert_same(outcome_of(model, optimizer, [optimizer.ledger["norm_before"]]), train(batches(SOUND)))
    recording = load(tmp_path / "box")
    assert recording.trigger is not None and recording.trigger.step in recording.batches
    assert CULPRIT in recording.names and recording.loss[0] > 0
    assert [name for name in recording.snapshots[0].state.others if name.startswith("scheduler")]


def test_a_black_box_records_one_model_with_one_optimizer(tmp_path: Path) -> None:
    model = Model()
    with pytest.raises(ValueError, match="one model with one optimizer; prepare got 0 models and 1 optimizers"):
        prepare(Accelerator(cpu=True), optimizer_of(model), blackbox=tmp_path / "box")

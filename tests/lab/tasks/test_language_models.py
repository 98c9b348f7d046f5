"""Language models: an LSTM that carries its state and resumes with it, and a GPT with a causal mask."""

import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from real_data import SHARED, needs
from steadystep.lab.tasks import charlm_transformer, ptb_lstm
from steadystep.lab.tasks.lanes import Lanes
from steadystep.lab.tasks.networks.gpt import GPT, Block
from steadystep.lab.tasks.networks.lstm_lm import LSTMLanguageModel
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.tasks.text import windows
from steadystep.lab.training.evaluation import evaluate
from steadystep.lab.training.flops import flops_per_step
from steadystep.lab.training.run_trial import run_trial
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Trial
from tiny_study import FINGERPRINT, numbers, tiny_trial, train_in_pieces

VOCABULARY = 7


def text(tokens: int, seed: int) -> np.ndarray:
    """Draw tokens, each of which is most likely the previous one plus 3, modulo the vocabulary size."""
    random = np.random.RandomState(seed)
    steps = np.where(random.rand(tokens) < 0.8, 3, random.randint(VOCABULARY, size=tokens))
    return steps.cumsum() % VOCABULARY


def load(data: Path | None) -> Splits[Lanes]:
    train, val, test = (Lanes(*windows(text(tokens, seed), 5)) for seed, tokens in enumerate((2500, 120, 131)))
    return Splits(replace(train, parts=2), val, test, FINGERPRINT)


TASK: Task = replace(
    ptb_lstm.TASK,
    name="tiny-lstm",
    classes=VOCABULARY,
    load=load,
    model=partial(LSTMLanguageModel, VOCABULARY, width=16, layers=2, dropout=0.2),
    recipe=replace(ptb_lstm.TASK.recipe, evaluation_batch=4),
)
TRIAL = tiny_trial(task=TASK.name, optimizer="Adam", lr=0.05, batch_size=4)


@pytest.fixture
def lstm() -> LSTMLanguageModel:
    torch.manual_seed(0)
    return LSTMLanguageModel(VOCABULARY, width=8, layers=2).eval()


@pytest.fixture
def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(VOCABULARY, context=12, width=16, heads=2, layers=2).eval()


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(1))


def test_models_have_the_published_numbers_of_parameters() -> None:
    def count(model: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    layer = 4 * (200 * (200 + 200) + 2 * 200)
    assert count(ptb_lstm.TASK.model()) == 2 * 10_000 * 200 + 2 * layer + 10_000
    assert count(LSTMLanguageModel(10_000, tied=True)) == 10_000 * 200 + 2 * layer + 10_000
    block = 12 * 128**2 + 13 * 128
    assert count(charlm_transformer.TASK.model()) == (65 + 64) * 128 + 4 * block + 2 * 128
    assert count(GPT(50_257, 1024, width=768, heads=12, layers=12)) == 124_439_808


def test_two_halves_of_a_text_give_the_outputs_of_the_whole_text(lstm: LSTMLanguageModel) -> None:
    x = tokens(3, 10)
    whole = lstm(x)
    lstm.restart()
    torch.testing.assert_close(torch.cat([lstm(x[:, :4]), lstm(x[:, 4:])], dim=1), whole)
    assert not torch.allclose(lstm(x), whole), "the state was not carried over"
    lstm.restart()
    torch.testing.assert_close(lstm(x), whole)


def test_no_gradient_flows_into_the_previous_batch(lstm: LSTMLanguageModel) -> None:
    lstm.train()
    for _ in range(2):
        lstm(tokens(3, 4)).sum().backward()  # would fail on the freed graph of the previous batch
    assert not any(buffer.requires_grad for buffer in lstm.buffers())


def test_evaluation_does_not_change_the_training_state(lstm: LSTMLanguageModel) -> None:
    lstm.train()
    x = tokens(3, 10)
    lstm(x[:, :5])
    evaluate(lstm, load(None).val, TASK.recipe)
    continued = lstm(x[:, 5:])
    lstm.restart()
    torch.testing.assert_close(continued, lstm(x)[:, 5:])


def test_evaluations_are_independent_of_each_other(lstm: LSTMLanguageModel) -> None:
    splits = load(None)
    first = evaluate(lstm, splits.test, TASK.recipe)
    evaluate(lstm, splits.val, TASK.recipe)
    assert evaluate(lstm, splits.test, TASK.recipe) == first


def test_an_epoch_starts_with_a_reset_state() -> None:
    training = Training(TRIAL, TASK, load(None))
    x, _ = training.next_batch()
    for _ in range(training.steps_per_epoch):
        training.step()
    training.end_epoch()
    assert isinstance(training.model, LSTMLanguageModel)
    with torch.no_grad():
        training.model.eval()
        training.model.restart()
        fresh = training.model(x)
        training.model.train()
        for module in training.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        training.model.lstm.dropout = 0.0
        torch.testing.assert_close(training.model(x), fresh)


def test_an_interrupted_run_gives_the_same_numbers(tmp_path: Path) -> None:
    checkpoint, splits = tmp_path / "trial.pt", load(None)
    undisturbed = run_trial(TRIAL, TASK, splits, checkpoint)
    assert undisturbed.outcome == "finished"
    train_in_pieces(TRIAL, TASK, splits, checkpoint, random.Random(0), steps=(5, 40))
    assert numbers(run_trial(TRIAL, TASK, splits, checkpoint)) == numbers(undisturbed)


def has_bfloat16_lstm() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not has_bfloat16_lstm(), reason="needs a processor on which torch has LSTMs in bfloat16")
def test_the_state_is_carried_in_bfloat16_runs(tmp_path: Path) -> None:
    trial = TRIAL.model_copy(update={"dtype": "bfloat16"})
    assert run_trial(trial, TASK, load(None), tmp_path / "trial.pt").outcome == "finished"


def test_no_output_depends_on_a_later_token(gpt: GPT) -> None:
    x = tokens(2, 12)
    before = gpt(x)
    for position in range(12):
        changed = x.clone()
        changed[:, position] = (x[:, position] + 1) % VOCABULARY
        after = gpt(changed)
        torch.testing.assert_close(after[:, :position], before[:, :position], rtol=0, atol=0)
        assert not torch.allclose(after[:, position:], before[:, position:])


def test_a_gpts_losses_do_not_depend_on_the_evaluation_batch(gpt: GPT) -> None:
    lanes, recipe = load(None).test, charlm_transformer.TASK.recipe
    losses = [evaluate(gpt, lanes, replace(recipe, evaluation_batch=batch)).loss for batch in (1, 3, 100)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_projections_into_the_residual_stream_are_initialised_smaller() -> None:
    gpt = GPT(VOCABULARY, context=64, width=128, layers=8)
    block = gpt.blocks[0]
    assert isinstance(block, Block)
    assert block.narrow.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert block.widen.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert gpt.head.weight is gpt.embedding.weight


def test_a_width_that_is_not_a_multiple_of_the_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the heads, got 10 and 4"):
        GPT(VOCABULARY, context=4, width=10, heads=4)


def test_flops_count_recurrent_layers_and_attention() -> None:
    x = torch.zeros(20, 35, dtype=torch.int64)
    lstm_and_head = 2 * x.numel() * (2 * 4 * 200 * 400 + 200 * 10_000)
    # Backward costs twice the forward products, except for those with the initial states, which have no gradient.
    assert flops_per_step(ptb_lstm.TASK, x, x) == pytest.approx(3 * lstm_and_head, rel=0.01)
    x = torch.zeros(16, 64, dtype=torch.int64)
    linear, attention = 2 * x.numel() * (4 * 12 * 128**2 + 65 * 128), 4 * 16 * 64 * 64 * 128 * 4
    assert flops_per_step(charlm_transformer.TASK, x, x) == pytest.approx(3 * (linear + attention), rel=0.01)


@pytest.mark.parametrize(
    ("task", "model", "steps"),
    [
        pytest.param(
            ptb_lstm.TASK,
            partial(LSTMLanguageModel, 10_000, width=32, layers=1),
            200,
            marks=[pytest.mark.slow, needs("ptb_text_only")],
        ),
        pytest.param(
            charlm_transformer.TASK,
            partial(GPT, 65, 64, width=32, layers=2),
            150,
            marks=needs("tiny_shakespeare"),
        ),
    ],
    ids=["ptb-lstm", "charlm-transformer"],
)
def test_a_tiny_model_soon_beats_the_unigram_entropy(
    task: Task, model: partial, steps: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STEADYSTEP_CACHE", str(tmp_path))
    splits = task.load(SHARED)
    trial = Trial(
        task=task.name, data=splits.fingerprint, optimizer="Adam", lr=0.01, schedule="constant", epochs=1,
        batch_size=task.batch_size, seed=0, role="tune",
    )  # fmt: skip
    training = Training(trial, replace(task, model=model), splits)
    assert isinstance(splits.train, Lanes | Arrays)
    counts = torch.bincount(splits.train.y.flatten(), minlength=task.classes).double()
    shares = counts / counts.sum()
    unigram_entropy = -shares.xlogy(shares).sum().item()
    assert task.frequencies == pytest.approx((unigram_entropy, shares.max().item()), abs=5e-5)
    for _ in range(steps):
        training.step()
    assert np.mean(training.measured.loss[-20:]) < unigram_entropy < np.log(task.classes)

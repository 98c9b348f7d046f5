"""The generated problems compared with their definitions, one sequence at a time."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from steadystep.lab.errors import UserError
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.rnn import make_task
from steadystep.lab.tasks.sequences import PROBLEMS
from steadystep.lab.tasks.sequences.fresh import FreshSequences
from steadystep.lab.tasks.sequences.problem import Problem
from steadystep.lab.tasks.sequences.random_guess import guesses_needed

EXAMPLES = 3_000


def sum_of_marked(x: np.ndarray) -> float:
    return float(np.float32(x[x[:, 1] == 1, 0].sum() / 2))


def product_of_marked(x: np.ndarray) -> float:
    return float(x[x[:, 1] == 1, 0].prod())


def order_of_relevant(x: Sequence[int], relevant: int) -> int:
    kinds: list[tuple[int, ...]] = list(itertools.product((4, 5), repeat=relevant))
    return kinds.index(tuple(symbol for symbol in x if symbol > 3))


ANSWERS: dict[str, Callable] = {
    "addition": sum_of_marked,
    "multiplication": product_of_marked,
    "temporal-order": lambda x: order_of_relevant(x.tolist(), 2),
    "temporal-order-3bit": lambda x: order_of_relevant(x.tolist(), 3),
    "permutation": lambda x: x[0],
    "memorization": lambda x: x[:5],
    "latch": lambda x: int(x[:3].sum() > 0),
}


@pytest.mark.parametrize("length", [10, 25, 50])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_target_follows_from_the_definition(name: str, length: int) -> None:
    x, y = PROBLEMS[name].draw(np.random.RandomState(1), 300, length)
    for sequence, answer in zip(x, y, strict=True):
        np.testing.assert_allclose(ANSWERS[name](sequence), answer, rtol=1e-6)


@pytest.mark.parametrize("name", ["addition", "multiplication"])
@pytest.mark.parametrize("length", [10, 50])
def test_lengths_and_marks_of_the_addition_problems(name: str, length: int) -> None:
    x, _ = PROBLEMS[name].draw(np.random.RandomState(1), EXAMPLES, length)
    lengths, firsts = set(), set()
    for numbers, marks in x.transpose(0, 2, 1):
        begin = int(np.flatnonzero(numbers)[0])
        steps = len(numbers) - begin
        lengths.add(steps)
        first, second = (int(place) - begin for place in np.flatnonzero(marks))
        assert 0 <= first < steps // 10 <= second < steps // 2
        firsts.add(first)
        assert marks.sum() == 2 and numbers.min() >= 0 and numbers.max() < 1
    assert lengths == set(range(length, length + length // 10 + 1))
    assert firsts == set(range(max(lengths) // 10))


@pytest.mark.parametrize(("name", "tenths"), [("temporal-order", (1, 4)), ("temporal-order-3bit", (1, 3, 6))])
def test_positions_of_the_relevant_symbols_and_balance_of_the_classes(name: str, tenths: tuple[int, ...]) -> None:
    x, y = PROBLEMS[name].draw(np.random.RandomState(1), EXAMPLES, 40)
    places = np.array([np.flatnonzero(sequence > 3) for sequence in x])
    for tenth, seen in zip(tenths, places.T, strict=True):
        assert set(seen) == set(range(4 * tenth, 4 * tenth + 4))
    classes = np.bincount(y)
    assert len(classes) == 2 ** len(tenths)
    assert np.abs(classes / EXAMPLES * len(classes) - 1).max() < 0.2
    assert set(np.unique(x)) == set(range(6))


def test_end_symbols_of_a_permutation_occur_only_at_the_ends() -> None:
    x, y = PROBLEMS["permutation"].draw(np.random.RandomState(1), EXAMPLES, 30)
    assert x.shape == (EXAMPLES, 29), "the thirtieth is the answer"
    assert set(y) == {0, 1} and x[:, 1:].min() == 2 and x.max() == 99


def test_a_pattern_is_followed_by_blanks_and_a_cue() -> None:
    x, y = PROBLEMS["memorization"].draw(np.random.RandomState(1), EXAMPLES, 20)
    assert len(np.unique(y, axis=0)) == 32
    assert (x[:, 5:] == [2] * 19 + [3] + [2] * 5).all()


def test_signal_and_noise_of_the_latch_problem() -> None:
    x, _ = PROBLEMS["latch"].draw(np.random.RandomState(1), EXAMPLES, 50)
    assert (np.abs(x[:, :3]) == 1).all()
    assert x[:, 3:].mean() == pytest.approx(0, abs=0.01) and x[:, 3:].var() == pytest.approx(0.2, rel=0.02)


def test_a_sequence_is_correct_if_all_its_bits_are() -> None:
    problem = PROBLEMS["memorization"]
    y = torch.randint(2, (3, 5))
    outputs = torch.nn.functional.one_hot(y, 2).float().transpose(1, 2).clone()
    outputs[1, :, 4] = outputs[1, :, 4].flip(0)
    assert problem.correct(outputs, y).tolist() == [[True] * 5, [False] * 5, [True] * 5]


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_example_depends_on_part_index_and_epoch_only(name: str) -> None:
    train = FreshSequences(PROBLEMS[name], 20, "train", 60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))

    def whole(split: FreshSequences, order: torch.Tensor, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = list(split.stream(order, 20, epoch))
        return torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])

    x, y = whole(train, order, 5)
    rest, _ = whole(train, order[40:], 5)
    assert torch.equal(x[40:], rest), "a stream restarted in the middle of an epoch continues with the same examples"
    in_order, labels = whole(train, torch.arange(60), 5)
    assert torch.equal(in_order[order], x) and torch.equal(labels[order], y)
    for other, epoch in ((train, 6), (replace(train, part="val"), 5), (replace(train, part="test"), 5)):
        assert not torch.equal(whole(other, order, epoch)[0], x)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.name)
def test_the_loss_of_a_guess_is_that_of_the_mean_or_of_equal_odds(problem: Problem) -> None:
    y = torch.from_numpy(problem.draw(np.random.RandomState(0), 5_000, 50).y)
    if problem.outputs == 1:
        guess = torch.full((len(y), 1), float(y.mean()))
    else:
        guess = torch.zeros(len(y), problem.outputs, *y.shape[1:])
    assert problem.guess_loss == pytest.approx(float(problem.loss(guess, y)), rel=0.05)


@pytest.mark.parametrize("name", ["rnn-addition:lstm:100:" + "9" * 50, "rnn-latch:tanh:0:1", "rnn-latch:tanh:200000:1"])
def test_a_size_beyond_any_use_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="with numbers from 1 to 100000"):
        find_task(name)


def test_random_guessing_solves_latch_but_not_addition() -> None:
    latch = make_task("latch", "tanh", length=30, hidden=1)
    needed = [guesses_needed(latch, most=2_000, seed=seed) for seed in range(3)]
    assert all(needed) and len(set(needed)) > 1
    assert guesses_needed(make_task("addition", "tanh", length=30, hidden=5), most=200) is None
    with pytest.raises(ValueError, match="at least one guess"):
        guesses_needed(latch, most=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("adition",), "no problem 'adition': choose one of addition"),
        (("addition", "relu"), "no cell 'relu': choose one of tanh"),
        (("addition", "tanh", 5), "at least 10 steps, got length 5"),
        (("addition", "tanh", 50, 0), "at least 1 unit"),
    ],
)
def test_invalid_options_are_refused(options: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_task(*options)

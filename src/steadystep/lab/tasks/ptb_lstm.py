"""ptb-lstm: a small LSTM language model on the words of the Penn Treebank."""

from functools import partial
from pathlib import Path

import torch

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.data import fingerprint_arrays
from steadystep.lab.tasks.lanes import Lanes
from steadystep.lab.tasks.loss_unit import PERPLEXITY
from steadystep.lab.tasks.networks.lstm_lm import LSTMLanguageModel
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Frequencies, Task
from steadystep.lab.tasks.text import load_tokens, next_token_correct, next_token_loss, windows, words

VOCABULARY = 10_000
LENGTH = 35
"""Words per window: the length of truncated backpropagation through time."""

PARTS = 5
"""Epochs needed to read the training text once, 186,000 words each, so that a run is validated more than once."""


def load(data: Path | None) -> Splits[Lanes]:
    """Return the three splits of the treebank as words and end-of-sentence tokens, in their original order."""
    tokens = load_tokens(
        "ptb-text-only/ptb_text_only", data, column="sentence", tokenise=words, vocabulary=VOCABULARY
    )  # fmt: skip
    train, val, test = (tokens[split] for split in ("train", "validation", "test"))
    return Splits(
        Lanes(*windows(train, LENGTH), parts=PARTS),
        Lanes(*windows(val, LENGTH)),
        Lanes(*windows(test, LENGTH)),
        fingerprint_arrays(train, val, test),
    )


def reset_state(model: torch.nn.Module) -> None:
    """Reset the model's recurrent state, as at the start of a text."""
    assert isinstance(model, LSTMLanguageModel)
    model.restart()


TASK = Task(
    name="ptb-lstm",
    title="Penn Treebank, LSTM 2x200; an epoch is a fifth of the text",
    dataset="ptb-text-only/ptb_text_only",
    classes=VOCABULARY,
    frequencies=Frequencies(loss=6.5293, accuracy=0.05462),
    load=load,
    model=partial(LSTMLanguageModel, VOCABULARY, width=200, layers=2),
    arms=(
        Arm(name="SGD", optimizer="SGD", lrs=(0.5, 1, 2, 4)),
        # The usual threshold. Zaremba's norm of 5 is for losses that are summed over 20 words.
        Arm(name="SGD + norm 0.25", optimizer="SGD", lrs=(5, 10, 20, 40), clip="norm", thresholds=(0.25,)),
        Arm(name="SGD + norm", optimizer="SGD", lrs=(10, 20), clip="norm", quantiles=(0.1, 0.5)),
    ),
    batch_size=20,
    budgets=(PARTS,),
    sweep_epochs=1,
    seeds=5,
    looks=(10,),
    tune_seeds=1,
    margin=0.002,
    target_accuracy=0.2,
    target_loss=5.5,
    loss_unit=PERPLEXITY,
    recipe=Recipe(
        loss=next_token_loss,
        evaluate=next_token_loss,
        correct=next_token_correct,
        restart=reset_state,
        shuffled=False,
        evaluation_batch=20,
    ),
)

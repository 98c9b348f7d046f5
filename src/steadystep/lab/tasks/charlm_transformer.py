"""charlm-transformer: a small GPT on the characters of Tiny Shakespeare."""

from functools import partial
from pathlib import Path

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.data import fingerprint_arrays
from steadystep.lab.tasks.fields import Option
from steadystep.lab.tasks.loss_unit import BITS
from steadystep.lab.tasks.networks.gpt import GPT
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Frequencies, Task
from steadystep.lab.tasks.text import characters, load_tokens, next_token_correct, next_token_loss, windows

VOCABULARY = 65
CONTEXT = 64


def load(data: Path | None) -> Splits[Arrays]:
    """Return the first 90%, next 5% and last 5% of the text, the data set's own splits, in windows of 64 characters."""
    tokens = load_tokens(
        "karpathy/tiny_shakespeare", data, column="text", tokenise=characters, vocabulary=VOCABULARY
    )  # fmt: skip
    parts = [tokens[split] for split in ("train", "validation", "test")]
    train, val, test = (Arrays(*windows(part, CONTEXT)) for part in parts)
    return Splits(train, val, test, fingerprint_arrays(*parts))


WEIGHT_DECAY: dict[str, Option] = {"weight_decay": 0.1}

TASK = Task(
    name="charlm-transformer",
    title="Tiny Shakespeare by characters, GPT of 4 blocks of width 128",
    dataset="karpathy/tiny_shakespeare",
    classes=VOCABULARY,
    frequencies=Frequencies(loss=3.3091, accuracy=0.15269),
    load=load,
    model=partial(GPT, VOCABULARY, CONTEXT, width=128, heads=4, layers=4),
    arms=(
        Arm(name="AdamW", optimizer="AdamW", options=WEIGHT_DECAY, lrs=(1e-3, 2e-3, 4e-3, 8e-3)),
        # 1 is the usual clipping threshold for transformers.
        Arm(
            name="AdamW + norm 1",
            optimizer="AdamW",
            options=WEIGHT_DECAY,
            lrs=(1e-3, 2e-3, 4e-3, 8e-3),
            clip="norm",
            thresholds=(1.0,),
        ),
        Arm(
            name="AdamW + norm",
            optimizer="AdamW",
            options=WEIGHT_DECAY,
            lrs=(2e-3, 4e-3),
            clip="norm",
            quantiles=(0.1, 0.5),
        ),
    ),
    batch_size=16,
    budgets=(3,),
    sweep_epochs=1,
    seeds=5,
    looks=(10,),
    tune_seeds=1,
    margin=0.002,
    target_accuracy=0.5,
    target_loss=1.5,
    loss_unit=BITS,
    recipe=Recipe(loss=next_token_loss, evaluate=next_token_loss, correct=next_token_correct, evaluation_batch=64),
)

"""Transformers: python examples/transformers_shakespeare.py input.txt, with any text, such as Tiny Shakespeare.

It trains a tiny GPT-2 on the characters of the text. The lines to change are marked, beside the import of steadystep.
"""

import sys
import tempfile
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from steadystep.integrations.transformers import SteadyTrainerMixin, adamw

CONTEXT = 64


class Windows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Windows of a text, each the input and its own target."""

    def __init__(self, text: str) -> None:
        """Give each character a number."""
        self.characters = sorted(set(text))
        numbers = {character: number for number, character in enumerate(self.characters)}
        self.text = torch.tensor([numbers[character] for character in text])

    def __len__(self) -> int:
        """Return the number of windows that do not overlap."""
        return len(self.text) // CONTEXT

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return a window."""
        window = self.text[index * CONTEXT : (index + 1) * CONTEXT]
        return {"input_ids": window, "labels": window}


class SteadyTrainer(SteadyTrainerMixin, Trainer):  # steadystep
    """A Trainer that knows of refused steps."""


windows = Windows(Path(sys.argv[1]).read_text(encoding="utf-8"))
config = GPT2Config(vocab_size=len(windows.characters), n_positions=CONTEXT, n_embd=64, n_layer=2, n_head=4)
with tempfile.TemporaryDirectory() as folder:
    args = TrainingArguments(
        folder,
        max_steps=60,
        learning_rate=3e-3,
        per_device_train_batch_size=16,
        max_grad_norm=0,  # steadystep
        logging_steps=20,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
    )
    trainer = SteadyTrainer(
        GPT2LMHeadModel(config),
        args,
        train_dataset=windows,
        optimizer_cls_and_kwargs=adamw(args, clip=1.0),  # steadystep
    )
    result = trainer.train()
print(f"loss {trainer.state.log_history[-2]['loss']:.2f} after {result.global_step} steps")

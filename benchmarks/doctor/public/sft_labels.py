# Instruction tuning, loss is nan in the middle of the epoch. Prompt tokens have the label -100.
import torch
from torch import nn

VOCAB = 20
MAX_LENGTH = 16


class TinyLM(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.lm_head = nn.Linear(dim, VOCAB)

    def forward(self, input_ids):
        h, _ = self.lstm(self.embed_tokens(input_ids))
        return self.lm_head(h)


def tokenize(prompt, answer):
    input_ids = (prompt + answer)[:MAX_LENGTH]
    labels = ([-100] * len(prompt) + answer)[:MAX_LENGTH]
    pad = MAX_LENGTH - len(input_ids)
    return input_ids + [0] * pad, labels + [-100] * pad


def collate(examples):
    rows = [tokenize(e["prompt"], e["answer"]) for e in examples]
    return {"input_ids": torch.tensor([r[0] for r in rows]), "labels": torch.tensor([r[1] for r in rows])}


def make_dataset(g, n):
    rows = []
    for i in range(n):
        k = int(torch.randint(1, VOCAB - 4, (1,), generator=g))
        length = int(torch.randint(4, 10, (1,), generator=g))
        prompt = torch.randint(1, VOCAB, (length - 1,), generator=g).tolist()
        prompt.append(k)
        if i in (104, 105):
            prompt = prompt * 5  # somebody pasted their whole mail thread
        rows.append({"prompt": prompt, "answer": [k, k + 1, k + 2, k + 3]})
    return rows


class SFTRun:
    def __init__(self):
        g = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        rows = make_dataset(g, 600)
        self.batches = [collate(rows[i : i + 2]) for i in range(0, len(rows), 2)]
        self.model = TinyLM()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-3)

    def loss(self, model, batch):
        logits = model(batch["input_ids"])
        shift_logits = logits[:, :-1].reshape(-1, VOCAB)
        shift_labels = batch["labels"][:, 1:].reshape(-1)
        return nn.functional.cross_entropy(shift_logits, shift_labels, ignore_index=-100)


make_run = SFTRun

# We resumed a pretraining run from a checkpoint and the loss exploded right away.
# To save disk space the checkpoint has no second moments, I thought Adam would find them again by itself.
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

V, T, D = 12, 12, 32


class GPTish(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(V, D)
        self.pos = nn.Embedding(T, D)
        self.ln1 = nn.LayerNorm(D)
        self.attn = nn.MultiheadAttention(D, 2, batch_first=True)
        self.ln2 = nn.LayerNorm(D)
        self.mlp = nn.Sequential(nn.Linear(D, 64), nn.GELU(), nn.Linear(64, D))
        self.lm_head = nn.Linear(D, V)
        self.register_buffer("causal", torch.ones(T, T, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, idx):
        x = self.tok(idx) + self.pos.weight
        h = self.ln1(x)
        x = x + self.attn(h, h, h, attn_mask=self.causal, need_weights=False)[0]
        x = x + self.mlp(self.ln2(x))
        return self.lm_head(x)


def get_batches(n, seed):
    g = torch.Generator().manual_seed(seed)
    step = torch.randint(1, 4, (n, 8, 1), generator=g)
    start = torch.randint(0, V, (n, 8, 1), generator=g)
    seqs = (start + step * torch.arange(T + 1)) % V
    noise = torch.rand(seqs.shape, generator=g) < 0.05
    return list(torch.where(noise, torch.randint(0, V, seqs.shape, generator=g), seqs))


def lm_loss(model, seq):
    logits = model(seq[:, :-1])
    return F.cross_entropy(logits.reshape(-1, V), seq[:, 1:].reshape(-1))


def pretrain(steps=40):
    torch.manual_seed(123)
    model = GPTish()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    for seq in get_batches(steps, seed=1):
        opt.zero_grad()
        lm_loss(model, seq).backward()
        opt.step()
    state = opt.state_dict()
    for s in state["state"].values():
        del s["exp_avg_sq"]
    return {"model": model.state_dict(), "optimizer": state}


def resume(ckpt):
    model = GPTish()
    model.load_state_dict(ckpt["model"])
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    params = list(model.parameters())
    for i, s in ckpt["optimizer"]["state"].items():
        s["exp_avg_sq"] = torch.zeros_like(params[i])
    opt.load_state_dict(ckpt["optimizer"])
    return model, opt


def make_run():
    model, opt = resume(pretrain())
    return SimpleNamespace(model=model, optimizer=opt, loss=lm_loss, batches=get_batches(300, seed=2))

# Transformer that ranks the bids of an auction, schedule from "Attention is all you need" with a warmup of 4 epochs.
# The loss goes up at once, comes back to log(8) = the uniform guess, and stays there.
import torch
import torch.nn.functional as F
from torch import nn

BIDS, D_MODEL = 8, 32
WARMUP, FACTOR = 4, 2.0  # the factor is from the Annotated Transformer


class Ranker(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, D_MODEL)
        layer = nn.TransformerEncoderLayer(D_MODEL, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.place = nn.Linear(D_MODEL, BIDS)

    def forward(self, bids):
        return self.place(self.encoder(self.embed(bids)))


def auctions(n, bs=32):
    g = torch.Generator().manual_seed(27)
    for _ in range(n):
        price = torch.randn(bs, BIDS, generator=g)
        rebate = torch.rand(bs, BIDS, generator=g)
        place = (price - 0.5 * rebate).argsort(dim=1).argsort(dim=1)
        yield torch.stack([price, rebate], dim=-1), place


def noam(step):
    step += 1
    return FACTOR * D_MODEL**-0.5 * min(step**-0.5, step * WARMUP**-1.5)


class Trainer:
    def __init__(self):
        torch.manual_seed(27)
        self.model = Ranker()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, noam)
        self.batches = list(auctions(4 * 75))

    def loss(self, model, batch):
        bids, place = batch
        return F.cross_entropy(model(bids).flatten(0, 1), place.flatten())

    def step(self, run, batch):
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        loss.backward()
        run.optimizer.step()
        run.scheduler.step()
        return loss.item()


def make_run():
    return Trainer()

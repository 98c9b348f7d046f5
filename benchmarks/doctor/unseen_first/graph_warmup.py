# Graph network on small molecules-like graphs, SGD with warmup. First it learns as it should, the loss goes down,
# and later in the run it gets wild and never recovers. Gradients are large then, but I think only as a result.
import torch
from torch import nn

WARMUP = 20
N_NODES = 10


class GraphConv(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.own = nn.Linear(d_in, d_out)
        self.nbr = nn.Linear(d_in, d_out, bias=False)

    def forward(self, h, adj):
        deg = adj.sum(-1, keepdim=True).clamp(min=1)
        return torch.relu(self.own(h) + self.nbr(adj @ h / deg))


class GraphNet(nn.Module):
    def __init__(self, d=24):
        super().__init__()
        self.conv1 = GraphConv(5, d)
        self.conv2 = GraphConv(d, d)
        self.readout = nn.Linear(d, 1)

    def forward(self, atoms, adj):
        h = self.conv2(self.conv1(atoms, adj), adj)
        return self.readout(h.mean(dim=1)).squeeze(-1)


def energy_loss(model, batch):
    atoms, adj, energy = batch
    return nn.functional.mse_loss(model(atoms, adj), energy)


def random_graphs(n, bs=24):
    g = torch.Generator().manual_seed(77)
    charge = torch.tensor([1.0, -1.0, 0.5, 2.0, -0.5])
    for _ in range(n):
        kind = torch.randint(0, 5, (bs, N_NODES), generator=g)
        upper = (torch.rand(bs, N_NODES, N_NODES, generator=g) < 0.25).float().triu(1)
        adj = upper + upper.transpose(1, 2)
        q = charge[kind]
        energy = 0.2 * q.sum(1) + 0.2 * torch.einsum("bi,bij,bj->b", q, upper, q)
        yield nn.functional.one_hot(kind, 5).float(), adj, energy


class Training:
    def __init__(self):
        torch.manual_seed(77)
        self.model = GraphNet()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.08, momentum=0.9)
        # linear warmup to the full learning rate
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda s: (s + 1) / WARMUP)
        self.batches = list(random_graphs(300))
        self.loss = energy_loss
        self.step = step


def step(run, batch):
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    loss.backward()
    run.optimizer.step()
    run.scheduler.step()
    return loss.item()


def make_run():
    return Training()

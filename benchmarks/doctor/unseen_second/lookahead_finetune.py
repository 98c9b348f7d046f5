# Fine-tuning a promoter classifier for a second species with Lookahead. The pretrained weights are surely loaded, the
# first loss values are as low as at the end of the pretraining. A few steps later it is as bad as a random network.
import torch
import torch.nn.functional as F
from torch import nn

LENGTH = 40


class MotifNet(nn.Module):
    def __init__(self, n_motifs=32):
        super().__init__()
        self.motifs = nn.Conv1d(4, n_motifs, 8)
        self.mix = nn.Linear(n_motifs, 32)
        self.label = nn.Linear(32, 4)

    def forward(self, dna):
        h = F.relu(self.motifs(dna)).amax(dim=2)
        return self.label(F.relu(self.mix(h)))


class Lookahead(torch.optim.SGD):
    """Every k steps: slow += alpha * (fast - slow); fast = slow."""

    def __init__(self, params, lr, momentum=0.9, k=6, alpha=0.3):
        super().__init__(params, lr=lr, momentum=momentum)
        for group in self.param_groups:
            group.update(k=k, alpha=alpha, calls=0)
            for p in group["params"]:
                self.state[p]["slow"] = p.detach().clone()

    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            group["calls"] += 1
            if group["calls"] % group["k"] == 0:
                for p in group["params"]:
                    slow = self.state[p]["slow"]
                    slow.lerp_(p, group["alpha"])
                    p.copy_(slow)
        return loss


def genome(n, seed, mutation, bs=32):
    motifs = torch.randint(0, 4, (4, 8), generator=torch.Generator().manual_seed(3))
    g = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(n):
        dna = torch.randint(0, 4, (bs, LENGTH), generator=g)
        label = torch.randint(0, 4, (bs,), generator=g)
        for row, kind in enumerate(label.tolist()):
            at = int(torch.randint(0, LENGTH - 8, (1,), generator=g))
            dna[row, at : at + 8] = motifs[kind]
        noise = torch.rand(dna.shape, generator=g) < mutation
        dna = torch.where(noise, torch.randint(0, 4, dna.shape, generator=g), dna)
        batches.append((F.one_hot(dna, 4).transpose(1, 2).float(), label))
    return batches


def loss_fn(model, batch):
    dna, label = batch
    return F.cross_entropy(model(dna), label)


def pretrain(steps=200):
    torch.manual_seed(45)
    model = MotifNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for batch in genome(steps, seed=1, mutation=0.05):
        optimizer.zero_grad()
        loss_fn(model, batch).backward()
        optimizer.step()
    return model.state_dict()


class FineTuning:
    def __init__(self, checkpoint):
        self.model = MotifNet()
        self.optimizer = Lookahead(self.model.parameters(), lr=1e-3)
        self.model.load_state_dict(checkpoint)
        self.batches = genome(300, seed=2, mutation=0.15)
        self.loss = loss_fn


def make_run():
    return FineTuning(pretrain())

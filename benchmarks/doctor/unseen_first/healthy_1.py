# Policy optimisation on logged episodes (importance weighted REINFORCE). The loss is negative and jumps around so
# much that I can't see whether anything happens at all. Is this normal?
from types import SimpleNamespace

import torch
from torch import nn

N_ACTIONS = 5


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
        self.logits = nn.Linear(48, N_ACTIONS)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, obs):
        return self.logits(self.net(obs)).log_softmax(-1)


def policy_loss(model, batch):
    obs, act, adv, old_logp = batch
    logp = model(obs).gather(1, act.unsqueeze(1)).squeeze(1)
    ratio = (logp - old_logp).exp()
    return -(ratio * adv).mean()


def logged_episodes(n, bs=48, seed=50):
    """Behaviour policy: uniform. The reward is mostly luck."""
    g = torch.Generator().manual_seed(seed)
    W = torch.randn(6, N_ACTIONS, generator=g)
    for _ in range(n):
        obs = torch.randn(bs, 6, generator=g)
        act = torch.randint(0, N_ACTIONS, (bs,), generator=g)
        reward = (obs @ W).gather(1, act.unsqueeze(1)).squeeze(1) + 2.0 * torch.randn(bs, generator=g)
        yield obs, act, reward / 3, torch.full((bs,), 1 / N_ACTIONS).log()


def make_run():
    torch.manual_seed(50)
    model = Policy()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return SimpleNamespace(model=model, optimizer=opt, loss=policy_loss, batches=list(logged_episodes(300)))

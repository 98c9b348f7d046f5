"""Gradient norm against local smoothness along a real training run (Zhang et al. 2020, section 2)."""

import numpy as np
import torch

from steadystep.lab.tasks import digits_mlp
from steadystep.lab.theory.claim import Tell
from steadystep.optimizers import SGD


class RowReader(torch.nn.Module):
    """A tanh RNN over the eight rows of a digit."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.RNN(8, 48, batch_first=True)
        self.out = torch.nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x.view(-1, 8, 8))[0][:, -1])


def smoothness_run(tell: Tell, steps: int = 800, every: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Gradient norms and local smoothness along a training run: the largest change of the gradient within a step."""
    train = digits_mlp.load(None).train
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = RowReader()
    parameters, random = list(net.parameters()), np.random.default_rng(0)
    optimizer = SGD(parameters, lr=0.05, momentum=0.9, clip=1.0)
    loss = torch.nn.functional.cross_entropy

    def gradient() -> torch.Tensor:
        whole = loss(net(train.x[:512]), train.y[:512])
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(whole, parameters)])

    found = []
    for k in range(steps):
        batch = torch.from_numpy(random.integers(0, len(train.x), 64))
        here = torch.nn.utils.parameters_to_vector(parameters).detach()
        before = gradient() if k % every == 0 else None
        optimizer.zero_grad()
        loss(net(train.x[batch]), train.y[batch]).backward()
        optimizer.step()
        if before is None:
            continue
        there = torch.nn.utils.parameters_to_vector(parameters).detach()
        changes = []
        for share in (0.125, 0.25, 0.5, 0.75, 1.0):
            torch.nn.utils.vector_to_parameters(here + share * (there - here), parameters)
            changes.append(float((gradient() - before).norm() / (share * (there - here).norm())))
        torch.nn.utils.vector_to_parameters(there, parameters)
        found.append((float(before.norm()), max(changes)))
        tell(k / steps)
    norms, curvatures = np.array(found).T
    return norms, curvatures

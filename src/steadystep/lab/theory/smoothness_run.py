"""Measure gradient norms and local smoothness during a real training run (Zhang et al. 2020, section 2)."""

import numpy as np
import torch

from steadystep.lab.tasks import digits_mlp
from steadystep.lab.theory.claim import Progress
from steadystep.optimizers import SGD


class RowReader(torch.nn.Module):
    """A tanh RNN that reads the eight rows of a digit in sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.RNN(8, 48, batch_first=True)
        self.out = torch.nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch of flattened 8x8 images."""
        return self.out(self.rnn(x.view(-1, 8, 8))[0][:, -1])


def smoothness_run(progress: Progress, steps: int = 800, every: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Train a tanh RNN on digits; return its gradient norms and local smoothness at every `every`-th step.

    Local smoothness is the largest change of the gradient, relative to the distance moved, within a step.
    """
    train = digits_mlp.load(None).train
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = RowReader()
    parameters, rng = list(net.parameters()), np.random.default_rng(0)
    optimizer = SGD(parameters, lr=0.05, momentum=0.9, clip=1.0)
    loss = torch.nn.functional.cross_entropy

    def gradient() -> torch.Tensor:
        whole = loss(net(train.x[:512]), train.y[:512])
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(whole, parameters)])

    rows = []
    for k in range(steps):
        batch = torch.from_numpy(rng.integers(0, len(train.x), 64))
        start = torch.nn.utils.parameters_to_vector(parameters).detach()
        before = gradient() if k % every == 0 else None
        optimizer.zero_grad()
        loss(net(train.x[batch]), train.y[batch]).backward()
        optimizer.step()
        if before is None:
            continue
        end = torch.nn.utils.parameters_to_vector(parameters).detach()
        changes = []
        for share in (0.125, 0.25, 0.5, 0.75, 1.0):
            torch.nn.utils.vector_to_parameters(start + share * (end - start), parameters)
            changes.append(float((gradient() - before).norm() / (share * (end - start).norm())))
        torch.nn.utils.vector_to_parameters(end, parameters)
        rows.append((float(before.norm()), max(changes)))
        progress(k / steps)
    norms, curvatures = np.array(rows).T
    return norms, curvatures

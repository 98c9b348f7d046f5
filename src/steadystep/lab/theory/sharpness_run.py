"""Measure the sharpness of the loss during full-batch training (Cohen et al. 2021, 2022)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from steadystep.lab.tasks import digits_mlp
from steadystep.lab.tasks.networks.mlp import make_mlp
from steadystep.lab.theory.claim import Progress
from steadystep.optimizers import Adam, Optimizer

STEPS = 2_400
EXAMPLES = 300


class SharpnessRun(NamedTuple):
    """The measurements of one training run, one entry per measured step."""

    steps: np.ndarray
    ratios: np.ndarray  # the largest eigenvalue over the threshold
    losses: np.ndarray


def sharpness_run(
    make: Callable[[list[torch.nn.Parameter]], Optimizer], threshold: float, progress: Progress, every: int = 40
) -> SharpnessRun:
    """Train on digits with full batches and measure the sharpness once every `every` steps.

    The sharpness is the largest eigenvalue of the Hessian; for Adam, of the preconditioned Hessian.
    """
    train = digits_mlp.load(None).train
    x, y = train.x[:EXAMPLES], torch.nn.functional.one_hot(train.y[:EXAMPLES], 10).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            *(torch.nn.Tanh() if isinstance(part, torch.nn.ReLU) else part for part in make_mlp((64, 32, 32, 10)))
        )
    parameters = list(net.parameters())
    optimizer = make(parameters)

    def loss() -> torch.Tensor:
        return ((net(x) - y) ** 2).sum(1).mean() / 2

    rows, vector = [], None
    for k in range(STEPS + 1):
        if k % every == 0:
            largest, vector = sharpness(loss(), parameters, preconditioner(optimizer, parameters), vector)
            rows.append((k, largest / threshold, float(loss().detach())))
            progress(k / STEPS)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return SharpnessRun(*np.array(rows).T)


def preconditioner(optimizer: Optimizer, parameters: list[torch.nn.Parameter]) -> np.ndarray:
    """Return the diagonal of P^(-1/2), where P = diag(sqrt(v_hat) + eps) for Adam and the identity otherwise."""
    count = sum(parameter.numel() for parameter in parameters)
    if not isinstance(optimizer, Adam) or not optimizer.state:
        return np.ones(count)
    group, states = optimizer.param_groups[0], [optimizer.state[parameter] for parameter in parameters]
    v = torch.cat([state["exp_avg_sq"].reshape(-1) for state in states]).double().numpy()
    flat = {"lr": group["lr"], "beta1": group["betas"][0], "beta2": group["betas"][1], "eps": group["eps"]}
    factors = optimizer.rule(group).coefficients(float(states[0]["step"]), flat)
    return 1 / np.sqrt(np.sqrt(factors["debias2"] * v) + group["eps"])


def sharpness(
    loss: torch.Tensor, parameters: list[torch.nn.Parameter], scales: np.ndarray, start: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """Compute the largest eigenvalue of the scaled Hessian and its eigenvector.

    Uses Lanczos iteration over Hessian-vector products.
    """
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])

    def product(vector: np.ndarray) -> np.ndarray:
        scaled = torch.from_numpy((scales * vector.ravel()).astype(np.float32))
        parts = torch.autograd.grad(gradient, parameters, scaled, retain_graph=True)
        return scales * torch.cat([part.reshape(-1) for part in parts]).double().numpy()

    n = len(scales)
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)  # type: ignore[call-arg]  (stubs lag)
    start = np.random.default_rng(0).normal(size=n) if start is None else start
    values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=1e-3, ncv=8)  # type: ignore[arg-type]  (stubs: int)
    return float(values[0]), vectors[:, 0]

"""Trajectories of our optimizers and of those of other libraries on the same gradients, in float64 on a CPU."""

# pyright: reportMissingImports=false

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

from reference.problem import make_problem

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")

Tensors = list[np.ndarray]
SHAPES = ((3, 2), (4,), (1,))


class Problem:
    """Parameters, and the gradients and learning rate of each step."""

    def __init__(self, lrs: Sequence[float]) -> None:
        params, grads = make_problem(3, sizes=(6, 4, 1), missing=False, steps=len(lrs))
        self.params = _shaped(params)
        self.grads = [_shaped([g for g in step if g is not None]) for step in grads]
        self.lrs = list(lrs)


def _shaped(flat: Sequence[Sequence[float]]) -> Tensors:
    return [np.array(values).reshape(shape) for values, shape in zip(flat, SHAPES, strict=True)]


def of_torch(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer], problem: Problem) -> list[Tensors]:
    """Return the parameters after every step of a torch optimizer: ours, or one of pytorch_optimizer."""
    params = [torch.tensor(p, requires_grad=True) for p in problem.params]
    optimizer = make(params)
    history = []
    for grads, lr in zip(problem.grads, problem.lrs, strict=True):
        for p, g in zip(params, grads, strict=True):
            p.grad = torch.tensor(g)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        history.append([p.detach().numpy().copy() for p in params])
    return history


def of_optax(make: Callable[[Callable[[Any], Any]], Any], problem: Problem) -> list[Tensors]:
    """Return the same for optax, with the learning rates as a schedule and matrices as (in, out), as usual in JAX."""
    lrs = jnp.array(problem.lrs)
    transformation = make(lambda count: lrs[count])
    params = [jnp.array(p.T) for p in problem.params]
    state = transformation.init(params)
    update = jax.jit(transformation.update)
    history = []
    for grads in problem.grads:
        updates, state = update([jnp.array(g.T) for g in grads], state, params)
        params = optax.apply_updates(params, updates)
        history.append([np.asarray(p).T for p in params])
    return history


def of_keras(make: Callable[[float], Any], problem: Problem) -> list[Tensors]:
    """Return the same for Keras, on its torch backend."""
    params = [keras.Variable(p, dtype="float64") for p in problem.params]
    optimizer = make(problem.lrs[0])
    optimizer.build(params)
    history = []
    for grads, lr in zip(problem.grads, problem.lrs, strict=True):
        optimizer.learning_rate = lr
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64") for g in grads])
        history.append([p.value.detach().numpy().copy() for p in params])
    return history


def error(ours: list[Tensors], theirs: list[Tensors]) -> float:
    """Return the largest relative difference of any element in any step, or infinity if a value is not finite."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        for p, q in zip(a, b, strict=True):
            if p.shape != q.shape or not (np.isfinite(p).all() and np.isfinite(q).all()):
                return float("inf")
            worst = max(worst, float((np.abs(p - q) / np.maximum(np.abs(p), np.abs(q))).max()))
    return worst

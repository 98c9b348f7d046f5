"""The steps that are timed, with clipping: those of this package and of other libraries."""

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch

import steadystep
from benchmarks.shapes import Shapes

MAX_NORM = 1.0
Step = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """An optimizer of this package and its names and options in other libraries."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    torch: str = ""
    torch_options: dict[str, Any] = field(default_factory=dict)
    pytorch_optimizer: str = ""
    pytorch_optimizer_options: dict[str, Any] = field(default_factory=dict)
    optax: str = ""
    fused: bool = False  # whether torch has a fused implementation


LR = {"lr": 1e-4}
ROWS = (
    Row("SGD", {**LR, "momentum": 0.9}, "SGD", {**LR, "momentum": 0.9}, fused=True),
    Row("Adagrad", LR, "Adagrad", LR, fused=True),
    Row("RMSprop", LR, "RMSprop", LR, optax="rmsprop"),
    Row("Adam", LR, "Adam", LR, optax="adam", fused=True),
    Row("AdamW", LR, "AdamW", LR, optax="adamw", fused=True),
    Row("AMSGrad", LR, "Adam", {**LR, "amsgrad": True}, optax="amsgrad", fused=True),
    Row("NAdam", LR, "NAdam", LR, "NAdam", LR, optax="nadam"),
    Row("RAdam", LR, "RAdam", LR, "RAdam", LR, optax="radam"),
    Row("AdaBelief", LR, "", {}, "AdaBelief", LR, optax="adabelief"),
    Row("Yogi", LR, "", {}, "Yogi", LR, optax="yogi"),
    Row("AdaBound", LR, "", {}, "AdaBound", LR),
    Row("AMSBound", LR, "", {}, "AdaBound", {**LR, "ams_bound": True}),
    Row("LAMB", LR, "", {}, "Lamb", LR, optax="lamb"),
    Row("Lion", LR, "", {}, "Lion", LR, optax="lion"),
    Row("Adan", LR, "", {}, "Adan", LR),
    Row("StableAdamW", LR, "", {}, "StableAdamW", LR),
)


def parameters(shapes: Shapes, device: str = "cpu") -> list[torch.nn.Parameter]:
    """Make parameters whose gradients have a global norm above the threshold, so that every step clips."""
    values, gradients = _numbers(tuple(shapes))
    params = [torch.nn.Parameter(value.to(device, copy=True)) for value in values]
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient.to(device, copy=True)
    return params


@lru_cache(maxsize=1)
def _numbers(shapes: tuple[tuple[int, ...], ...]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    numbers = sum(math.prod(shape) for shape in shapes)
    values = [torch.randn(shape, generator=random) for shape in shapes]
    return values, [torch.randn(shape, generator=random) * 2 * MAX_NORM / numbers**0.5 for shape in shapes]


def ours(row: Row, shapes: Shapes, device: str = "cpu", **options: Any) -> Step:
    return getattr(steadystep, row.name)(parameters(shapes, device), clip=MAX_NORM, **row.options, **options).step


def peers(row: Row, shapes: Shapes, device: str = "cpu") -> Iterator[tuple[str, Step]]:
    """Yield the same clipped step in other libraries: `clip_grad_norm_` and a step, or one jit-compiled function."""
    if row.torch:
        kind = getattr(torch.optim, row.torch)
        forms = {"torch for-loop": {"foreach": False}, "torch foreach": {"foreach": True}}
        if row.fused:
            forms["torch fused"] = {"fused": True}
        for name, form in forms.items():
            yield name, clip_then_step(partial(kind, **row.torch_options, **form), shapes, device)
    if row.pytorch_optimizer and importlib.util.find_spec("pytorch_optimizer"):
        kind = getattr(importlib.import_module("pytorch_optimizer"), row.pytorch_optimizer)
        yield "pytorch-optimizer", clip_then_step(partial(kind, **row.pytorch_optimizer_options), shapes, device)
    if (
        row.optax and device == "cpu" and importlib.util.find_spec("optax")
    ):  # on other devices its arrays are not torch's
        yield "optax jit", _optax(row.optax, shapes)


def clip_then_step(make: Callable[[Any], torch.optim.Optimizer], shapes: Shapes, device: str) -> Step:
    """Return a step that calls `clip_grad_norm_` and then the step of an optimizer made by `make`."""
    params = parameters(shapes, device)
    optimizer = make(params)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(params, MAX_NORM, foreach=True)
        optimizer.step()

    return step


def _optax(name: str, shapes: Shapes) -> Step:
    jax, optax = importlib.import_module("jax"), importlib.import_module("optax")
    optimizer = optax.chain(optax.clip_by_global_norm(MAX_NORM), getattr(optax, name)(LR["lr"]))
    params = [jax.numpy.asarray(param.detach().numpy()) for param in parameters(shapes)]
    gradients = [jax.numpy.asarray(param.grad.numpy()) for param in parameters(shapes) if param.grad is not None]

    def update(gradients: Any, state: Any, params: Any) -> Any:
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(update, donate_argnums=(1, 2))
    current = [params, optimizer.init(params)]

    def step() -> None:
        current[:] = jax.block_until_ready(compiled(gradients, current[1], current[0]))

    return step

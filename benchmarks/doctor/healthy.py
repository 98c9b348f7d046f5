"""Healthy runs of the same programs, with ordinary variety: a diagnosis must find nothing wrong with any of them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import steadystep
from benchmarks.doctor.programs import (
    attention_classifier,
    autoencoder,
    digits_convnet,
    digits_mlp,
    language_model,
    lstm_ctc,
    regression_net,
    sequence_gru,
)
from benchmarks.doctor.programs.real_digits import digit_batches
from benchmarks.doctor.run import Run, Step

COUNT = 300

CLASSIFIERS = (digits_mlp, digits_convnet, attention_classifier)
"""Programs whose batches are pairs of inputs and labels."""
SCALABLE = (digits_mlp, digits_convnet, regression_net, autoencoder)
"""Programs that stay finite under autocast, and whose plain batches can be sliced."""
ALL = (*CLASSIFIERS, sequence_gru, regression_net, lstm_ctc, language_model, autoencoder)

LR = {
    "SGD": {digits_mlp: 0.3, digits_convnet: 0.1, regression_net: 0.2, autoencoder: 3.0, attention_classifier: 0.2},
    "momentum": {
        digits_mlp: 0.1, digits_convnet: 0.05, regression_net: 0.05, autoencoder: 1.0, attention_classifier: 0.05,
        sequence_gru: 0.1, language_model: 0.1,
    },
}  # fmt: skip
"""Sound learning rates."""


@dataclass(frozen=True)
class Healthy:
    """A healthy run: what is special about it, and how to build it."""

    name: str
    program: str
    make: Callable[[], Run]


def healthy(seed: int) -> Healthy:
    """Return the healthy run of a seed from 0 to 299. Every variety takes its turn."""
    variety = VARIETIES[seed % len(VARIETIES)]
    program = random.Random(f"healthy program {seed}").choice(variety.programs)

    def make() -> Run:
        return variety.make(program, seed, random.Random(f"healthy {seed}"))

    return Healthy(variety.name, program.__name__.rpartition(".")[2], make)


@dataclass(frozen=True)
class Variety:
    """Something ordinary that a run can have."""

    name: str
    programs: tuple[ModuleType, ...]
    make: Callable[[ModuleType, int, random.Random], Run]


def _sgd(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=LR["SGD"][program] * draw.uniform(0.5, 1))
    return _constant(run)


def _momentum(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    lr = LR["momentum"][program] * draw.uniform(0.5, 1)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=lr, momentum=0.9, nesterov=draw.random() < 0.5)
    return _constant(run)


def _adam(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    kind = draw.choice((torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam))
    larger = 2 if program is regression_net else 1  # it learns more slowly than the others
    run.optimizer = kind(run.model.parameters(), lr=larger * draw.uniform(2e-3, 5e-3))
    return _constant(run)


def _clipped(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    max_norm = draw.choice((0.5, 1.0, 5.0))

    def step(run: Run, batch: Any) -> float:
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), max_norm)
        run.optimizer.step()
        return loss.item()

    run.step = step
    return run


def _steadystep(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    kind = draw.choice((steadystep.Adam, steadystep.AdamW, steadystep.AdaBelief, steadystep.RAdam))
    clip = draw.choice((None, 1.0, 5.0))
    run.optimizer = kind(run.model.named_parameters(), lr=draw.uniform(2e-3, 5e-3), clip=clip)
    return _constant(run)


def _guarded(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    run.optimizer = steadystep.guard(run.optimizer, clip=draw.choice((1.0, 5.0)))
    return run


def _noisy_labels(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    share, generator = draw.uniform(0.1, 0.25), torch.Generator().manual_seed(seed)
    run.batches = [
        (
            x,
            torch.where(
                torch.rand(len(y), generator=generator) < share, y[torch.randperm(len(y), generator=generator)], y
            ),
        )
        for x, y in run.batches
    ]
    return run


def _small_batches(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    size = draw.choice((6, 8))
    run.batches = [_part(batch, slice(0, size)) for batch in run.batches]
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=2e-3)
    return _constant(run)


def _warm_up(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    run.scheduler = torch.optim.lr_scheduler.LinearLR(run.optimizer, 0.01, 1.0, draw.randrange(10, 80))
    return run


def _drops(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _momentum(program, seed, draw)
    milestones = [draw.randrange(120, 180), draw.randrange(200, 260)]
    run.scheduler = torch.optim.lr_scheduler.MultiStepLR(run.optimizer, milestones, draw.choice((0.1, 0.3)))
    return run


def _cosine(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    run.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(run.optimizer, 300)
    return run


def _one_cycle(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    run.scheduler = torch.optim.lr_scheduler.OneCycleLR(run.optimizer, draw.uniform(3e-3, 1e-2), 301)
    return run


class Regularised(nn.Module):
    """A perceptron with batch norm and dropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(rate),
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(rate), nn.Linear(32, 10),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def _regularised(program: ModuleType, seed: int, draw: random.Random) -> Run:
    torch.manual_seed(seed)
    model = Regularised(draw.choice((0.1, 0.3, 0.5)))
    return Run(model, torch.optim.Adam(model.parameters(), lr=3e-3), program.loss, digit_batches(seed))


def _accumulated(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    parts = draw.choice((2, 4))

    def step(run: Run, batch: Any) -> float:
        run.optimizer.zero_grad()
        total, size = 0.0, _size(batch) // parts
        for part in range(parts):
            loss = run.loss(run.model, _part(batch, slice(part * size, (part + 1) * size))) / parts
            loss.backward()
            total += loss.item()
        run.optimizer.step()
        return total

    run.step = step
    return run


def _autocast(run: Run, dtype: torch.dtype) -> None:
    plain = run.loss

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.autocast("cpu", dtype):
            return plain(model, batch)

    run.loss = loss


def _bfloat16(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = _adam(program, seed, draw)
    _autocast(run, torch.bfloat16)
    return run


def _calibrated(program: ModuleType, seed: int, draw: random.Random) -> Run:
    """Autocast to float16, with a gradient scaler; the scale starts so high that the first steps are skipped."""
    run = program.make(seed)
    _autocast(run, torch.float16)
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** draw.randrange(22, 30), growth_interval=100)
    run.step = _scaled(draw.choice((None, 1.0, 5.0)))
    return run


def _scaled(max_norm: float | None) -> Step:
    def step(run: Run, batch: Any) -> float:
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        run.scaler.scale(loss).backward()
        if max_norm is not None:
            run.scaler.unscale_(run.optimizer)
            nn.utils.clip_grad_norm_(run.model.parameters(), max_norm)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        return loss.item()

    return step


def _overparametrised(program: ModuleType, seed: int, draw: random.Random) -> Run:
    """Repeat a few batches again and again, until the loss is nearly zero."""
    run = _adam(program, seed, draw)
    run.batches = [run.batches[index % 4] for index in range(len(run.batches))]
    return run


def _hard_batch(program: ModuleType, seed: int, draw: random.Random) -> Run:
    """Give one batch labels that are all wrong: its loss is high, and the run goes on."""
    run = _clipped(program, seed, draw)
    place = draw.randrange(150, 250)
    x, y = run.batches[place]
    run.batches[place] = (x, (y + 1) % 5)  # pyright: ignore[reportIndexIssue]
    return run


def _smoothed(program: ModuleType, seed: int, draw: random.Random) -> Run:
    run = program.make(seed)
    smoothing = draw.uniform(0.05, 0.2)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        x, y = batch
        return functional.cross_entropy(model(x), y, label_smoothing=smoothing)

    run.loss = loss
    return run


def _negative(program: ModuleType, seed: int, draw: random.Random) -> Run:
    """Fit a Gaussian likelihood to targets with little noise: the loss passes through zero."""
    torch.manual_seed(seed)
    model = regression_net.Residual(outputs=2)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        x, y = batch
        mean, raw = model(x).split(1, dim=1)
        variance = functional.softplus(raw) + 1e-2
        return functional.gaussian_nll_loss(mean, y, variance)

    optimizer = torch.optim.Adam(model.parameters(), lr=draw.uniform(4e-3, 8e-3))
    return Run(model, optimizer, loss, program.batches(seed, noise=0.05))


def _to_the_floor(program: ModuleType, seed: int, draw: random.Random) -> Run:
    """Train a language model that reaches the entropy of its text early, and stays there."""
    run = program.make(seed)
    run.optimizer = torch.optim.AdamW(run.model.parameters(), lr=draw.uniform(5e-3, 1e-2))
    return _constant(run)


def _slow(program: ModuleType, seed: int, draw: random.Random) -> Run:
    """Use a learning rate far below the best one: the loss falls slowly, and falls."""
    run = program.make(seed)
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=draw.uniform(3e-4, 5e-4))
    return _constant(run)


def _constant(run: Run) -> Run:
    """Leave out the program's own schedule, which belongs to its own optimizer."""
    if hasattr(run, "scheduler"):
        del run.scheduler
    return run


def _part(batch: Any, rows: slice) -> Any:
    if isinstance(batch, dict):
        return {name: tensor[rows] for name, tensor in batch.items()}
    return tuple(tensor[rows] for tensor in batch) if isinstance(batch, tuple) else batch[rows]


def _size(batch: Any) -> int:
    first = next(iter(batch.values())) if isinstance(batch, dict) else batch[0] if isinstance(batch, tuple) else batch
    return len(first)


VARIETIES = (
    Variety("SGD", tuple(LR["SGD"]), _sgd),
    Variety("momentum", tuple(LR["momentum"]), _momentum),
    Variety("Adam", ALL, _adam),
    Variety("clipped by norm", ALL, _clipped),
    Variety("steadystep", ALL, _steadystep),
    Variety("guarded", ALL, _guarded),
    Variety("noisy labels", CLASSIFIERS, _noisy_labels),
    Variety("small batches", tuple(each for each in ALL if each is not regression_net), _small_batches),
    Variety("warm-up", ALL, _warm_up),
    Variety("learning rate drops", tuple(LR["momentum"]), _drops),
    Variety("cosine schedule", ALL, _cosine),
    Variety("one cycle", ALL, _one_cycle),
    Variety("batch norm and dropout", (digits_mlp,), _regularised),
    Variety("accumulation", ALL, _accumulated),
    Variety("bfloat16 autocast", SCALABLE, _bfloat16),
    Variety("calibrated scale", SCALABLE, _calibrated),
    Variety("overparametrised", (digits_mlp, digits_convnet, attention_classifier, sequence_gru), _overparametrised),
    Variety("hard batch", CLASSIFIERS, _hard_batch),
    Variety("label smoothing", CLASSIFIERS, _smoothed),
    Variety("negative loss", (regression_net,), _negative),
    Variety("entropy floor", (language_model,), _to_the_floor),
    Variety("small learning rate", (digits_mlp, digits_convnet, attention_classifier, lstm_ctc, language_model), _slow),
)

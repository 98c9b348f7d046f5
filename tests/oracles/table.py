"""The table of comparisons: one row for each definition that another library has in common with this package.

These are left out, because the definitions differ (each difference was measured and confirmed in both sources):

- optax.nadam, nadamw: a constant momentum, without the 0.96^(t psi) of torch.optim and the paper.
- keras AdamW with an epsilon: epsilon-hat, where torch's AdamW corrects the root first. With epsilon 0 they are the
  same, and this case is here.
- keras Lamb with weight_decay: decoupled, outside the trust ratio; optax's is inside, as in the paper.
- pytorch_optimizer.Lamb: corrects m only, after the trust ratio; adds eps to norm(r); limits norm(p) to 10.
- our variants that none of these libraries has: AMSGrad "paper" and "torch", Yogi "author" and "paper", AdaBound
  "paper", AdamW "independent", LAMB "nvlamb" and `rectified`. tests/reference tests them against their equations.
"""

# pyright: reportMissingImports=false

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import optax
import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer.agc import agc

import steadystep
from oracles.trajectories import Problem, Tensors, of_keras, of_optax, of_torch
from reference.problem import STEPS, warm_restarts

RUNNERS: dict[str, Callable[[Any, Problem], list[Tensors]]] = {
    "optax": of_optax,
    "keras": of_keras,
    "pytorch_optimizer": of_torch,
}


@dataclass(frozen=True)
class Case:
    """An optimizer of another library, and ours with the options that make the two equivalent."""

    library: str
    label: str
    make: Callable[[Any], Any]  # takes a schedule (optax), a learning rate (keras) or the parameters
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-10
    constant_lr: bool = False  # the definitions agree only if the learning rate is constant
    same_variants: tuple[str, ...] = ()  # our other variants that are the same with these options
    note: str = ""

    def problem(self, lr: float = 1e-2) -> Problem:
        """Return the problem, with two warm restarts of the learning rate unless it must be constant."""
        return Problem([lr] * STEPS if self.constant_lr else warm_restarts(lr))

    def theirs(self, problem: Problem) -> list[Tensors]:
        return RUNNERS[self.library](self.make, problem)

    def ours(self, problem: Problem, **overrides: Any) -> list[Tensors]:
        optimizer = getattr(steadystep, self.name)
        options = {**self.options, **overrides}
        return of_torch(lambda params: optimizer(params, lr=problem.lrs[0], **options), problem)

    def __str__(self) -> str:
        return f"{self.library}.{self.label}"


EPS = 1e-3  # large, so that it matters where it is added
CLIP = 0.1  # as a bound on the global norm, it clips 43 of the 60 steps
ROUNDED = "Keras's ops.minimum and ops.maximum of a float64 tensor and a Python number are float32"

OPTAX = (
    Case("optax", "sgd", optax.sgd, "SGD", same_variants=("velocity",)),
    Case("optax", "sgd momentum", lambda lr: optax.sgd(lr, 0.9), "SGD", {"momentum": 0.9}),
    Case(
        "optax", "sgd nesterov",
        lambda lr: optax.sgd(lr, 0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True},
    ),
    Case("optax", "adam", lambda lr: optax.adam(lr, eps=EPS), "Adam", {"eps": EPS}),
    Case("optax", "adam betas", lambda lr: optax.adam(lr, b1=0.5, b2=0.9), "Adam", {"betas": (0.5, 0.9)}),
    Case(
        "optax", "adamw",
        lambda lr: optax.adamw(lr, eps=EPS, weight_decay=0.1), "AdamW", {"eps": EPS, "weight_decay": 0.1},
    ),
    Case("optax", "amsgrad", lambda lr: optax.amsgrad(lr, eps=EPS), "AMSGrad", {"variant": "corrected", "eps": EPS}),
    Case("optax", "yogi", optax.yogi, "Yogi", {"variant": "optax"}),
    Case(
        "optax", "adabelief",
        lambda lr: optax.adabelief(lr, eps=EPS, eps_root=EPS), "AdaBelief", {"variant": "paper", "eps": EPS},
    ),
    Case(
        "optax", "lamb",
        lambda lr: optax.lamb(lr, weight_decay=0.1), "LAMB", {"weight_decay": 0.1}, same_variants=("nvlamb",),
    ),
    Case("optax", "lamb no decay", optax.lamb, "LAMB"),
    Case("optax", "lion", lambda lr: optax.lion(lr, weight_decay=0.1), "Lion", {"weight_decay": 0.1}),
    Case(
        "optax", "radam", lambda lr: optax.radam(lr, eps=0.0), "RAdam", {"eps": 0.0},
        note="optax adds eps to the corrected root, torch to the uncorrected one",
    ),
    Case(
        "optax", "rmsprop",
        lambda lr: optax.rmsprop(lr, decay=0.99, eps=EPS, eps_in_sqrt=False), "RMSprop", {"eps": EPS},
    ),
    Case(
        "optax", "rmsprop centered",
        lambda lr: optax.rmsprop(lr, decay=0.9, eps=EPS, eps_in_sqrt=False, centered=True),
        "RMSprop", {"alpha": 0.9, "eps": EPS, "centered": True},
    ),
    Case(
        "optax", "rmsprop momentum",
        lambda lr: optax.rmsprop(lr, decay=0.99, eps=EPS, eps_in_sqrt=False, momentum=0.9),
        "RMSprop", {"eps": EPS, "momentum": 0.9}, constant_lr=True,
        note="optax multiplies by the learning rate before the momentum",
    ),
    Case(
        "optax", "adagrad",
        lambda lr: optax.adagrad(lr, initial_accumulator_value=0.1, eps=0.0),
        "Adagrad", {"initial_accumulator_value": 0.1, "eps": 0.0},
        note="optax adds eps inside the root",
    ),
    Case(
        "optax", "clip_by_global_norm, adam",
        lambda lr: optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(lr)), "Adam", {"clip": CLIP},
    ),
    Case(
        "optax", "clip, adam",
        lambda lr: optax.chain(optax.clip(CLIP), optax.adam(lr)), "Adam", {"clip": steadystep.ClipValue(CLIP)},
    ),
    Case(
        "optax", "adaptive_grad_clip, sgd",
        lambda lr: optax.chain(optax.adaptive_grad_clip(CLIP), optax.sgd(lr, 0.9)),
        "SGD", {"momentum": 0.9, "clip": steadystep.AGC(CLIP)},
    ),
)  # fmt: skip

KERAS = (
    Case("keras", "SGD", keras.optimizers.SGD, "SGD", same_variants=("velocity",)),
    Case(
        "keras", "SGD momentum",
        lambda lr: keras.optimizers.SGD(lr, momentum=0.9), "SGD", {"variant": "velocity", "momentum": 0.9},
    ),
    Case(
        "keras", "SGD nesterov",
        lambda lr: keras.optimizers.SGD(lr, momentum=0.9, nesterov=True),
        "SGD", {"variant": "velocity", "momentum": 0.9, "nesterov": True},
    ),
    Case("keras", "Adam", keras.optimizers.Adam, "Adam", {"variant": "epsilon_hat", "eps": 1e-7}),
    Case(
        "keras", "Adam amsgrad",
        lambda lr: keras.optimizers.Adam(lr, amsgrad=True),
        "Adam", {"variant": "epsilon_hat", "eps": 1e-7, "amsgrad": True},
    ),
    Case(
        "keras", "Adam global_clipnorm",
        lambda lr: keras.optimizers.Adam(lr, global_clipnorm=CLIP),
        "Adam", {"variant": "epsilon_hat", "eps": 1e-7, "clip": CLIP}, tolerance=1e-8, note=ROUNDED,
    ),
    Case(
        "keras", "Adam clipnorm",
        lambda lr: keras.optimizers.Adam(lr, clipnorm=CLIP),
        "Adam", {"variant": "epsilon_hat", "eps": 1e-7, "clip": steadystep.ClipNorm(CLIP, scope="parameter")},
        tolerance=1e-8, note=ROUNDED,
    ),
    Case(
        "keras", "Adam clipvalue",
        lambda lr: keras.optimizers.Adam(lr, clipvalue=CLIP),
        "Adam", {"variant": "epsilon_hat", "eps": 1e-7, "clip": steadystep.ClipValue(CLIP)},
    ),
    Case(
        "keras", "AdamW",
        lambda lr: keras.optimizers.AdamW(lr, weight_decay=0.1, epsilon=0.0),
        "AdamW", {"weight_decay": 0.1, "eps": 0.0},
        note="Keras adds eps to the uncorrected root, torch to the corrected one",
    ),
    Case(
        "keras", "Nadam",
        lambda lr: keras.optimizers.Nadam(lr, epsilon=EPS), "NAdam", {"eps": EPS, "momentum_decay": 1.0},
        note="Keras has 0.96^t where torch has 0.96^(0.004 t)",
    ),
    Case(
        "keras", "RMSprop",
        lambda lr: keras.optimizers.RMSprop(lr, rho=0.99, epsilon=0.0), "RMSprop", {"eps": 0.0},
        note="Keras adds eps inside the root",
    ),
    Case(
        "keras", "RMSprop centered momentum",
        lambda lr: keras.optimizers.RMSprop(lr, rho=0.9, momentum=0.9, epsilon=0.0, centered=True),
        "RMSprop", {"alpha": 0.9, "momentum": 0.9, "eps": 0.0, "centered": True}, constant_lr=True,
        note="Keras adds eps inside the root, and multiplies by the learning rate before the momentum",
    ),
    Case(
        "keras", "Adagrad",
        lambda lr: keras.optimizers.Adagrad(lr, initial_accumulator_value=0.1, epsilon=0.0),
        "Adagrad", {"initial_accumulator_value": 0.1, "eps": 0.0}, note="Keras adds eps inside the root",
    ),
    Case("keras", "Lion", lambda lr: keras.optimizers.Lion(lr, weight_decay=0.1), "Lion", {"weight_decay": 0.1}),
    Case("keras", "Lamb", lambda lr: keras.optimizers.Lamb(lr, epsilon=EPS), "LAMB", {"eps": EPS}),
)  # fmt: skip


def sgd_after_agc(params: list[torch.Tensor]) -> torch.optim.Optimizer:
    """Return torch's SGD with a pre-step hook that applies pytorch_optimizer's function `agc` to the gradients."""

    def clip(*_: object) -> None:
        for p in params:
            p.grad = agc(p.detach(), p.grad, agc_clip_val=CLIP)

    optimizer = torch.optim.SGD(params, momentum=0.9)
    optimizer.register_step_pre_hook(clip)
    return optimizer


PYTORCH_OPTIMIZER = (
    Case(
        "pytorch_optimizer", "StableAdamW",
        lambda params: pytorch_optimizer.StableAdamW(params, eps=EPS, weight_decay=0.1),
        "StableAdamW", {"eps": EPS, "weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "RAdam skipping",
        lambda params: pytorch_optimizer.RAdam(params, n_sma_threshold=5, eps=EPS, weight_decay=0.1),
        "RAdam", {"variant": "author", "eps": EPS, "weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "RAdam degenerated to SGD",
        lambda params: pytorch_optimizer.RAdam(
            params, n_sma_threshold=4, degenerated_to_sgd=True, eps=EPS, weight_decay=0.1
        ),
        "RAdam", {"variant": "paper", "eps": EPS, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    Case(
        "pytorch_optimizer", "AdaBelief",
        lambda params: pytorch_optimizer.AdaBelief(params, eps=EPS, weight_decay=0.1),
        "AdaBelief", {"variant": "paper", "eps": EPS, "weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "AdaBelief rectified",
        lambda params: pytorch_optimizer.AdaBelief(params, rectify=True, weight_decay=0.1),
        "AdaBelief", {"variant": "author", "weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "Adan",
        lambda params: pytorch_optimizer.Adan(params, eps=EPS, weight_decay=0.1), "Adan",
        {"eps": EPS, "weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "Adan without prox",
        lambda params: pytorch_optimizer.Adan(params, eps=EPS, weight_decay=0.1, weight_decouple=True),
        "Adan", {"eps": EPS, "weight_decay": 0.1, "no_prox": True},
    ),
    Case(
        "pytorch_optimizer", "Lion",
        lambda params: pytorch_optimizer.Lion(params, weight_decay=0.1), "Lion", {"weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "Yogi",
        lambda params: pytorch_optimizer.Yogi(params, weight_decay=0.1, weight_decouple=False),
        "Yogi", {"variant": "optax", "weight_decay": 0.1},
    ),
    Case(
        "pytorch_optimizer", "AdaBound",
        lambda params: pytorch_optimizer.AdaBound(params, lr=1e-2, eps=EPS, weight_decay=0.1, weight_decouple=False),
        "AdaBound", {"eps": EPS, "weight_decay": 0.1}, note="they add 1e-15 to v",
    ),
    Case(
        "pytorch_optimizer", "AdaBound ams_bound",
        lambda params: pytorch_optimizer.AdaBound(params, lr=1e-2, eps=EPS, ams_bound=True),
        "AMSBound", {"eps": EPS}, note="they add 1e-15 to v",
    ),
    Case(
        "pytorch_optimizer", "agc, sgd", sgd_after_agc, "SGD", {"momentum": 0.9, "clip": steadystep.AGC(CLIP)},
    ),
)  # fmt: skip

CASES = OPTAX + KERAS + PYTORCH_OPTIMIZER

"""One reference per optimizer, by the public class name, and the cases worth testing."""

from collections.abc import Callable
from typing import Any

from reference.optimizers.adabelief import adabelief
from reference.optimizers.adabound import adabound, amsbound
from reference.optimizers.adagrad import adagrad
from reference.optimizers.adam import adam
from reference.optimizers.adamw import adamw
from reference.optimizers.amsgrad import amsgrad
from reference.optimizers.lamb import lamb
from reference.optimizers.lion import lion
from reference.optimizers.nadam import nadam
from reference.optimizers.radam import radam
from reference.optimizers.rmsprop import rmsprop
from reference.optimizers.sgd import sgd
from reference.optimizers.stableadamw import stableadamw
from reference.optimizers.trajectory import Trajectory
from reference.optimizers.yogi import yogi

REFERENCES: dict[str, Callable[..., Trajectory]] = {
    "SGD": sgd,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adam": adam,
    "AdamW": adamw,
    "NAdam": nadam,
    "AMSGrad": amsgrad,
    "AdaBelief": adabelief,
    "Yogi": yogi,
    "AdaBound": adabound,
    "AMSBound": amsbound,
    "RAdam": radam,
    "LAMB": lamb,
    "Lion": lion,
    "StableAdamW": stableadamw,
}

# The default variant comes first.
VARIANTS: dict[str, tuple[str, ...]] = {
    "SGD": ("torch", "velocity"),
    "Adagrad": ("torch",),
    "RMSprop": ("torch",),
    "Adam": ("torch", "epsilon_hat"),
    "AdamW": ("torch", "independent"),
    "NAdam": ("torch",),
    "AMSGrad": ("torch", "paper", "corrected"),
    "AdaBelief": ("author", "paper"),
    "Yogi": ("author", "paper", "optax"),
    "AdaBound": ("author", "paper"),
    "AMSBound": ("author", "paper"),
    "RAdam": ("torch", "author", "paper"),
    "LAMB": ("paper", "nvlamb"),
    "Lion": ("author",),
    "StableAdamW": ("paper",),
}

# Hyperparameter sets for every variant of an optimizer.
_SHARED: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"lr": 0.05, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ],
    "Adagrad": [
        {},
        {"weight_decay": 0.1},
        {"lr_decay": 0.05},
        {"initial_accumulator_value": 0.1},
        {"lr": 0.1, "eps": 1e-3, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.01},
    ],
    "RMSprop": [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"lr": 3e-3, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8, "centered": True, "weight_decay": 0.1},
    ],
    "Adam": [
        {},
        {"weight_decay": 0.1},
        {"amsgrad": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True},
        {"betas": (0.0, 0.99)},
    ],
    "AdamW": [
        {},
        {"weight_decay": 0.0},
        {"weight_decay": 0.1, "amsgrad": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05},
    ],
    "NAdam": [
        {},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.1},
    ],
    "AMSGrad": [
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ],
    "AdaBelief": [
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.1},
    ],
    "Yogi": [
        {},
        {"weight_decay": 0.1},
        {"lr": 0.003, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
    ],
    "AdaBound": [
        {},
        {"weight_decay": 0.1},
        {"gamma": 0.2},
        {"lr": 0.01, "betas": (0.8, 0.9), "final_lr": 0.02, "gamma": 0.05, "eps": 1e-3, "weight_decay": 0.1},
    ],
    "RAdam": [
        {},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
        {"betas": (0.9, 0.65)},  # rho_inf = 4.71: rectified by the paper's threshold only
        {"betas": (0.8, 0.5)},  # rho_inf = 3: never rectified
    ],
    "LAMB": [
        {},
        {"weight_decay": 0.1},
        {"rectified": True},
        {"rectified": True, "weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ],
    "Lion": [
        {},
        {"weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.5, 0.8), "weight_decay": 0.1},
    ],
    "StableAdamW": [
        {},
        {"weight_decay": 0.0},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.1},
    ],
}
_SHARED["AMSBound"] = _SHARED["AdaBound"]

# Every variant with its hyperparameter sets: (public class name, variant, keyword arguments).
CASES: list[tuple[str, str, dict[str, Any]]] = [
    *((name, variant, kwargs) for name in REFERENCES for variant in VARIANTS[name] for kwargs in _SHARED[name]),
    ("SGD", "torch", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("AdaBelief", "author", {"rectify": False}),
    ("AdaBelief", "author", {"rectify": False, "eps": 1e-8, "weight_decay": 0.1}),
    ("AdaBelief", "author", {"betas": (0.9, 0.65)}),
]

__all__ = ["CASES", "REFERENCES", "VARIANTS"]

"""Weights from which nothing can be learned: dead, saturated, all alike, or far too large."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change, reset
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.operations import Call

MOST = 0.9
GAIN = 0.3
"""The share of the run's last loss by which new weights must end lower."""
FAR = 0.7
"""The same for weights that are only large, in a run that shows no trouble: they may be meant."""
FLOOR = 0.1
"""The share of the first loss below which a last loss counts as this much: differences near 0 are noise."""
LOOKED_AT = 4
LARGE = 4.0
"""How many times larger than usual the weights of a layer are, to be named."""
_RELUS = ("relu", "relu6", "leaky_relu", "hardtanh", "elu", "selu", "celu", "gelu", "silu")
_BOUNDED = {"tanh": 0.99, "sigmoid": 0.98, "softsign": 0.98, "hardsigmoid": 0.98}


@dataclass(frozen=True)
class Sick:
    """A layer, and what is wrong with it."""

    module: str
    words: str


def sick_layers(case: Case) -> list[Sick]:
    """Return the layers that are dead, saturated or all alike with the weights of the start."""
    found: dict[str, list[float]] = {}
    words: dict[str, str] = {}
    for index in range(case.first, case.first + LOOKED_AT):
        seen = case.probe(case.start, case.run.batch(index), look=True).seen
        for call in seen.calls:
            share = _share(call)
            if share is not None:
                name = _layer_before(case, seen.calls, call)
                found.setdefault(name, []).append(share[0])
                words[name] = f"{share[1]} after {name}"
    sick = [Sick(name, words[name]) for name, shares in found.items() if min(shares) >= MOST]
    return sick + [Sick(name, f"all weights of {name} are the same") for name in _alike(case)]


def investigate(case: Case, early: bool) -> Finding | None:
    """Ask whether the run learns once the layers, or all of them, are initialised anew.

    Args:
        case: the run.
        early: whether the trouble begins with the first steps, so that weights alone may be too large.
    """
    sick = sick_layers(case)
    names = [each.module for each in sick]
    least_gain = GAIN
    if not names:
        names = _too_large(case)
        least_gain = GAIN if early else FAR
        sick = [
            Sick(name, f"the weights of {name} are not finite, or far larger than reset_parameters() makes them")
            for name in names
        ]
    if not names or not _can_reset(case, names):
        return None
    base, anew = _end(case), _end(case, reset(names))
    least = least_gain * max(abs(base), FLOOR * case.level)
    cured = not math.isnan(anew) and (math.isnan(base) or base - anew > least)
    case.note(f"{', '.join(names[:3])} initialised anew", f"the loss ends at {anew:.4g} instead of {base:.4g}", cured)
    if not cured:
        return None
    return Finding(
        "initialisation",
        names[0],
        case.first,
        f"{sick[0].words}, from the start; with this layer initialised anew the loss falls to {anew:.3g} instead of "
        f"{base:.3g}",
        (Fix(f"initialise {', '.join(names[:3])} as the layer's reset_parameters() does", (reset(names),)),),
    )


def _end(case: Case, *changes: Change) -> float:
    played = case.replay(case.first, min(100, case.planned), *changes)
    return played.end


def _share(call: Call) -> tuple[float, str] | None:
    """Return the share of the units that are dead or saturated after an activation, and the words for them."""
    name, result = call.place.function, call.result
    if not isinstance(result, torch.Tensor) or result.dim() < 2:
        return None
    values = result.detach().float()
    if name in _RELUS:
        dims = [dim for dim in range(values.dim()) if dim != (1 if values.dim() == 4 else values.dim() - 1)]
        dead = (values.abs() < 1e-6).all(dim=dims) if dims else values.abs() < 1e-6
        return float(dead.float().mean()), f"units are 0 for every example ({name})"
    if name in _BOUNDED:
        edge = _BOUNDED[name]
        saturated = values.abs() > edge if name != "sigmoid" else (values - 0.5).abs() > edge / 2
        return float(saturated.float().mean()), f"{name} is saturated"
    return None


def _layer_before(case: Case, calls: list[Call], call: Call) -> str:
    """Return the module with parameters whose result an activation gets, or the activation's own."""
    modules = dict(case.run.model.named_modules())
    for earlier in reversed(calls[: calls.index(call)]):
        module = modules.get(earlier.place.module)
        if module is not None and any(True for _ in module.parameters(recurse=False)):
            return earlier.place.module
    return call.place.module


def _alike(case: Case) -> list[str]:
    """Return the modules all of whose weights have one value."""
    state = case.start.state.model
    found = []
    for name, module in case.run.model.named_modules():
        weight = state.get(f"{name}.weight" if name else "weight")
        if weight is None or not isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.Embedding):
            continue
        if weight.numel() > 1 and bool((weight == weight.flatten()[0]).all()):
            found.append(name)
    return found


def _too_large(case: Case) -> list[str]:
    """Return the modules whose weights are much larger than after reset_parameters(), the largest first."""
    case.run.put_back(case.start)
    ratios: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for name, module in case.run.model.named_modules():
            weight = getattr(module, "weight", None)
            if not callable(getattr(module, "reset_parameters", None)) or not isinstance(weight, torch.Tensor):
                continue
            if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm) or weight.dim() < 2:
                continue
            before = float(weight.float().norm())
            module.reset_parameters()  # type: ignore[operator]
            ratio = before / max(float(weight.float().norm()), 1e-30)
            ratios[name] = ratio if math.isfinite(ratio) else math.inf
    case.run.put_back(case.start)
    return [name for name in sorted(ratios, key=lambda name: -ratios[name]) if ratios[name] > LARGE]


def _can_reset(case: Case, names: list[str]) -> bool:
    modules = dict(case.run.model.named_modules())
    return all(callable(getattr(modules.get(name), "reset_parameters", None)) for name in names)

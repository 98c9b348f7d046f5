"""Operations on the parameter groups."""

from typing import Any

import torch

from memory.operations import Operation
from memory.sides import Side, new_parameter

RATES = (0.003, 0.05, 0.2)


def _group(side: Side, which: int) -> dict[str, Any]:
    groups = side.optimizer.param_groups
    return groups[which % len(groups)]


def _changes(group: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return other values for some of the hyperparameters that a group has."""
    changes: dict[str, Any] = {"lr": RATES[seed % 3], "weight_decay": 0.02 * (seed % 4)}
    if "betas" in group:
        changes["betas"] = (0.7, 0.95, 0.9)[: len(group["betas"])]
    if group.get("momentum"):
        changes["momentum"] = 0.6
    names = sorted(changes)
    return {name: changes[name] for number, name in enumerate(names) if (seed >> number) & 1} or {"lr": 0.07}


def entry_replaced(side: Side, which: int, seed: int) -> None:
    """Replace a group by another dict with other hyperparameters and the same list of parameters."""
    groups = side.optimizer.param_groups
    number = which % len(groups)
    groups[number] = {**groups[number], **_changes(groups[number], seed)}


def list_replaced(side: Side, which: int, seed: int) -> None:
    """Replace the list of groups, and each group in it."""
    side.optimizer.param_groups = [{**group, **_changes(group, seed)} for group in side.optimizer.param_groups]


def edited_in_place(side: Side, which: int, seed: int) -> None:
    """Set hyperparameters of a group."""
    _group(side, which).update(_changes(_group(side, which), seed))


def rate_in_a_tensor(side: Side, which: int, seed: int) -> None:
    """Keep the learning rate of a group in a tensor."""
    _group(side, which)["lr"] = torch.tensor(RATES[seed % 3], dtype=torch.float64)


def rate_in_a_tensor_edited(side: Side, which: int, seed: int) -> None:
    """Change learning rates that are tensors in place."""
    for group in side.optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(RATES[seed % 3])


def betas_in_a_list(side: Side, which: int, seed: int) -> None:
    """Keep betas in a list, and change an entry of one that is in a list already."""
    group = _group(side, which)
    if "betas" in group:
        group["betas"] = list(group["betas"]) if isinstance(group["betas"], tuple) else group["betas"]
        group["betas"][0] = (0.8, 0.6)[seed % 2]


def groups_reversed(side: Side, which: int, seed: int) -> None:
    """Reverse the order of the groups."""
    side.optimizer.param_groups.reverse()


def params_reversed(side: Side, which: int, seed: int) -> None:
    """Reverse the order of the parameters in a group, with their names."""
    group = _group(side, which)
    group["params"].reverse()
    if "param_names" in group:
        group["param_names"].reverse()


def emptied(side: Side, which: int, seed: int) -> None:
    """Take all parameters out of a group."""
    group = _group(side, which)
    group["params"] = []
    if "param_names" in group:
        group["param_names"] = []


def moved(side: Side, which: int, seed: int) -> None:
    """Move the last parameter of a group to the next group."""
    groups = side.optimizer.param_groups
    source, target = groups[which % len(groups)], groups[(which + 1) % len(groups)]
    if source is not target and source["params"]:
        target["params"].append(source["params"].pop())
        if "param_names" in source:
            target["param_names"].append(source["param_names"].pop())


def added(side: Side, which: int, seed: int) -> None:
    """Add a parameter in a group of its own."""
    if len(side.params) < 6:
        side.add(new_parameter(((4, 6), (2,))[seed % 2], side.setting.dtype, 100 + seed))


ON_GROUPS = (
    Operation(entry_replaced),
    Operation(list_replaced),
    Operation(edited_in_place),
    Operation(rate_in_a_tensor),
    Operation(rate_in_a_tensor_edited),
    Operation(betas_in_a_list),
    Operation(groups_reversed),
    Operation(params_reversed),
    Operation(emptied),
    Operation(moved),
    # torch's Adagrad makes its state when it is constructed, and makes none for a parameter that is added.
    Operation(added, only_torch_refuses=True),
)

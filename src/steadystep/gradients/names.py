"""The names of parameters, one for each, by which errors and the ledger call them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any


def qualified_names(param_groups: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    """Return the names that the user gave the parameters of each group, or an empty list for a group without names.

    A name that occurs more than once, such as "weight" in the named parameters of two modules, is qualified by the
    number of its group; within one group, also by that of its tensor.

    >>> qualified_names([{"param_names": ["weight", "bias"]}, {"param_names": ["weight", "scale"]}])
    [['group 0: weight', 'bias'], ['group 1: weight', 'scale']]
    """
    names: list[Sequence[str]] = [group.get("param_names") or [] for group in param_groups]
    for pattern in ("group {group}: {name}", "group {group}, tensor {tensor}: {name}"):
        all_names = list(chain.from_iterable(names))
        if len(set(all_names)) == len(all_names):  # nearly always, and counting takes longer
            break
        count = Counter(all_names)
        names = [
            [
                pattern.format(group=group, tensor=tensor, name=param_groups[group]["param_names"][tensor])
                if count[name] > 1
                else name
                for tensor, name in enumerate(of_group)
            ]
            for group, of_group in enumerate(names)
        ]
    return names
